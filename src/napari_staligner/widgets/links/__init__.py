"""The Links dock."""

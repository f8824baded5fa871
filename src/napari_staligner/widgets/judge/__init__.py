"""The Judge dock."""

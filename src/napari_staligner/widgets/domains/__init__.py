"""The Domains dock."""

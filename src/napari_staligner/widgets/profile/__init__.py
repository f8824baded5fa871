"""The Profile dock."""

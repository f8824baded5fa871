"""The Alignment dock."""

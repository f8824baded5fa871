"""The Attention dock."""

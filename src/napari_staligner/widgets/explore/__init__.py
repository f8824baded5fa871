"""The Explore dock."""

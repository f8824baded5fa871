"""The Slices dock."""

"""Other methods on the same slices, to measure an integration by."""

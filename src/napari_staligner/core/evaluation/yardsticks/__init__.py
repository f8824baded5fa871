"""Other methods on the same slices, to compare an integration with."""

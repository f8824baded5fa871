"""What mouse and keys do on the tissue: choose a spot, draw a region, move a slice."""

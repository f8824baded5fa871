"""Results handed on: to other programs, as tables, or back into the slices' own files."""

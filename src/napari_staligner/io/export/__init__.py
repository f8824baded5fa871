"""Exports results: for other programs, as tables, or as the slices' own files."""

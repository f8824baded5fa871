"""Slices before the training: checks, shared genes, spatial graphs, and the joined table."""

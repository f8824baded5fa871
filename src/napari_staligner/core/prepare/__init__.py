"""Slices before training: checks, shared genes, spatial graphs, and the joined table."""

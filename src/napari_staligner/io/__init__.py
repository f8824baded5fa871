"""Readers and writers of the formats of the field, thin over anndata."""

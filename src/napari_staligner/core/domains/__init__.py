"""Domains of the embedding, and which slices have them.

``mixture`` divides the embedding, ``slice_specific`` finds structures that only one slice has,
``domains`` combines both and records them, ``presence`` tests where each domain is.
"""

"""Domains of the embedding, and in which slices they are.

``mixture`` divides the embedding, ``slice_specific`` finds structures that one slice has alone,
``domains`` puts both together and records them, ``presence`` tests where each domain is.
"""

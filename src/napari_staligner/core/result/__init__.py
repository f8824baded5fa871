"""What integrated slices hold, and what is computed from them.

``access`` reads them; ``attention``, ``matches``, ``markers`` and ``confidence`` are views of the
result; ``verdicts`` holds what people said about it, ``provenance`` where it came from.
"""

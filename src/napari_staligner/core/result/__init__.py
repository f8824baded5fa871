"""What integrated slices hold, and what is computed from them.

``access`` reads them; ``attention``, ``matches``, ``markers`` and ``confidence`` are views of the
result; ``verdicts`` is what people said of it, ``provenance`` where it came from.
"""

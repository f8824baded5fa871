"""The headless engine: AnnData in, AnnData out. Nothing here knows of Qt or napari.

Read in this order: ``settings`` (what can be chosen), ``slices`` (checks and preparation),
``graph``, ``model``, ``triplets``, ``training`` (the method), ``domains``, ``registration``,
``confidence`` (what is made of the embedding), ``integrate`` (all of it in one call). How good it
is: ``metrics`` (the figures), ``embeddings`` (what to compare with), ``evaluation`` (all of them).
"""

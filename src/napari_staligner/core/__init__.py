"""The headless engine: AnnData in, AnnData out. Nothing here knows of Qt or napari.

Read in this order: ``settings`` (what can be chosen), ``prepare`` (slices, their genes and their
graphs), ``training`` (the method), ``domains`` and ``registration`` (computed from the
embedding), ``integrate`` (all in one call). ``result`` reads and extends integrated slices,
``annotations`` holds regions that people name, ``evaluation`` says how good an integration is.
"""

"""The headless engine: AnnData in, AnnData out. Nothing here knows of Qt or napari.

Read in this order: ``settings`` (what can be chosen), ``prepare`` (slices, their genes and their
graphs), ``training`` (the method), ``domains`` and ``registration`` (what is made of the
embedding), ``integrate`` (all of it in one call). ``result`` reads and adds to integrated slices,
``annotations`` holds regions that people name, ``evaluation`` says how good an integration is.
"""

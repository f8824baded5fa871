"""Recognises and reads the formats of the field.

:func:`~napari_staligner.io.formats.sniff.sniff` says what is at a path, by names and first bytes;
:func:`~napari_staligner.io.formats.read.read_found` reads it. Each family of formats has a file:
``tenx``, ``flat``, ``stereo`` and ``store``.
"""

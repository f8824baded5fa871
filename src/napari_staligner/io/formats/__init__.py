"""What laboratories have: the formats of the field, told apart and read.

:func:`~napari_staligner.io.formats.sniff.sniff` says what lies at a path, by names and first bytes;
:func:`~napari_staligner.io.formats.read.read_found` reads it. A family of formats is one file:
``tenx``, ``flat``, ``stereo`` and ``store``.
"""

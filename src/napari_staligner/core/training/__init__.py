"""The method: a graph-attention autoencoder trained with triplets across slices.

``model`` is the network, ``triplets`` and ``matching`` find the spots to pull together, ``train``
is the loop, ``trainer`` runs one epoch of it in ``tiles``; ``components`` reduces the input,
``stopping`` decides when to stop, ``estimate`` estimates time and memory.
"""

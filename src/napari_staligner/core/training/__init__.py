"""The method: a graph-attention autoencoder trained with triplets across slices.

``model`` is the network, ``triplets`` and ``matching`` find what is pulled together, ``train`` is
the loop, ``trainer`` one of its epochs in ``tiles``; ``components`` reduces the input, ``stopping``
says when it is enough, ``estimate`` what it will take.
"""

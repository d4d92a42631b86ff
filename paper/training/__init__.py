"""Small decoders trained on text, to see what of a prediction at initialisation survives training.

``python -m paper.training run``, ``measure`` and ``summarise``; the answers need none of it, only
the files under ``results``.
"""

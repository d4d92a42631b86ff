"""Small decoders trained on text: does what is predicted at initialisation survive training?

``python -m paper.training run | measure | summarise``; the answers need none of it, only the files
under ``results``.
"""

"""Sweeps: the leak over grids of architectures, as one labelled dataset that can be resumed."""

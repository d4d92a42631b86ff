"""The figures: one module each, with its numbers, how they are drawn, and a caption.

A row of `MODULES` per figure; nothing of a figure is loaded before it is asked for. Every module
has ``data(bench)``, which computes (or finds) what it shows, functions ``draw…(ax, …)`` that draw
on axes of one's own, ``CAPTION``, and ``FIGURE``, which puts them together.

Examples
--------
>>> from ropeleak import predict
>>> from ropeleak.figures import beacon
>>> beacon.draw(ax, predict("qwen3-8b"))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import nearest, shorten

if TYPE_CHECKING:
    from .recipe import Recipe

__all__ = ["MODULES", "load", "names"]

MODULES = (
    "holes", "denominator", "beacon", "leaks", "ruler", "bos", "architectures", "plugs",
    "precision", "training", "predecessors", "beyond",
)  # fmt: skip
"""The modules of the figures, in the order of the paper; a figure's name is its module's."""


def names() -> tuple[str, ...]:
    """Return the names of all figures, in their order."""
    return MODULES


def load(name: str) -> "Recipe[Any]":
    """Return a figure by its name.

    Raises
    ------
    RopeleakError
        If there is none of that name (the nearest is suggested).
    """
    key = name.strip().lower()
    if key not in MODULES:
        close = nearest(name, list(MODULES), cutoff=0.0)
        raise RopeleakError(f"there is no figure {shorten(name)}: did you mean {close}?")
    figure: Recipe[Any] = import_module(f".{key}", __name__).FIGURE
    return figure

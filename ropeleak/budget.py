"""How much memory a computation may use, and how many processors."""

import os

import psutil

from .errors import RopeleakError

BUDGET_GB = 2.0
"""Memory that a computation may use, unless ``ROPELEAK_MEMORY_GB`` says otherwise."""


def allowed_bytes() -> float:
    """Return the memory that may be used: the budget, or what is free if that is less.

    Raises
    ------
    RopeleakError
        If ``ROPELEAK_MEMORY_GB`` is not a positive number.
    """
    text = os.environ.get("ROPELEAK_MEMORY_GB", str(BUDGET_GB))
    try:
        budget = float(text)
    except ValueError:
        budget = 0.0
    if not budget > 0:
        raise RopeleakError(
            f"ROPELEAK_MEMORY_GB={text!r} is not a positive number: set it to the gigabytes to use"
        )
    return min(budget * 2**30, 0.9 * psutil.virtual_memory().available)


def available_threads() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1

"""How much memory a recursion needs, checked before it starts."""

from math import isqrt

from ropeleak.budget import allowed_bytes
from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .grid import DIRECT_DENSE, Grid

_ENTRY = 8.0
_MATRICES = 160
"""Matrices that the recursion holds at once, (G, G) each."""
_REFINED = 7
"""Matrices that its refinement holds at once, (T, T) each."""
_KEPT = 3
"""Matrices that ``keep='full'`` adds at every depth."""


def check_memory(stack: Stack, grid: Grid, keep: str, *, fine: bool = False) -> None:
    """Raise `RopeleakError` if the recursion needs more memory than is allowed.

    Parameters
    ----------
    grid
        The nodes of the recursion.
    keep
        ``full`` if matrices are kept at every depth.
    fine
        Whether the recursion is refined from the grid to every position.
    """
    positions = stack.context if fine else grid.size
    coarse = _ENTRY * _MATRICES * grid.size**2 if fine else 0.0
    matrices = _REFINED if fine else _MATRICES
    if keep == "full":
        matrices += _KEPT * (stack.n_blocks + 1)
    needed = coarse + _ENTRY * matrices * positions**2
    allowed = allowed_bytes()
    if needed <= allowed:
        return
    largest = isqrt(int(max(allowed - coarse, 0.0) / (_ENTRY * matrices)))
    if fine and largest <= DIRECT_DENSE:  # which is not refined, and takes more
        kept_matrices = matrices - _REFINED + _MATRICES
        largest = min(isqrt(int(allowed / (_ENTRY * kept_matrices))), DIRECT_DENSE)
    kept = " with keep='full'" if keep == "full" else ""
    remedy = "positions='grid', " if positions == stack.context else ""
    raise RopeleakError(
        f"{positions} positions{kept} need {needed / 2**30:.1f} GB and {allowed / 2**30:.1f} GB are"
        f" allowed: the largest context that fits densely is {largest};"
        f" use {remedy}a shorter context or a larger ROPELEAK_MEMORY_GB"
    )

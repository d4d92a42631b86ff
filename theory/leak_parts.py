"""The leak of some of the queries: early and late ones leak differently."""

from collections.abc import Sequence

from ropeleak.spec import Stack

from .band import make_band
from .leak import Leak, Leaks, widest_offset
from .mean_field import choose_grid
from .recursion import initial_state, run


def leak_parts(stack: Stack, queries: Sequence[range]) -> list[list[Leak]]:
    """Return the leak of every block, for each range of queries that is counted.

    Centring subtracts the mean over all queries, counted or not.
    """
    grid = choose_grid(stack, "auto")
    widths = {widest_offset(stack, block) for block in range(stack.n_blocks)}
    bands = [{w: make_band(grid, w, counted) for w in widths} for counted in queries]
    found = [Leaks(stack, of_width) for of_width in bands]
    for block in run(stack, grid, initial_state(stack, grid)):
        for leaks in found:
            leaks.add(block)
    return [leaks.all() for leaks in found]

"""How far position 0 can reach: beyond it a stack of windows is exactly shift-invariant."""

from ropeleak.spec import Attention, Stack


def reaches(stack: Stack) -> list[int]:
    """Return the last position that position 0 can influence, by depth (L + 1 entries)."""
    found = [0]
    for attention in stack.attention:
        found.append(next_reach(attention, found[-1], stack.context))
    return found


def next_reach(attention: Attention, reach: int, context: int) -> int:
    """Return the last position that sees one of the positions up to ``reach``."""
    if attention.mask != "causal" or attention.sinks:
        return context - 1
    last = context - 1
    if attention.window is not None:
        return min(reach + attention.window - 1, last)
    if attention.chunk is not None:
        return min((reach // attention.chunk + 1) * attention.chunk - 1, last)
    return last

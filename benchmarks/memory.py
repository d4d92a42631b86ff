"""Peak memory of a measurement, from few draws to many."""

from .race import Program, race
from .tables import print_table

DRAWS = (100, 1_000, 10_000, 100_000)


def small(draws: int):  # type: ignore[no-untyped-def]
    """Return a measurement of a small stack."""
    from ropeleak import Stack
    from ropeleak.simulate import measure

    stack = Stack.build(context=8, d_model=16, n_heads=1, n_blocks=1, mlp={"kind": "none"})
    return lambda: measure(stack, draws=draws, contents=2)


def run() -> None:
    """Print the peak memory for 10² to 10⁵ draws."""
    rows = []
    for draws in DRAWS:
        program = Program("ropeleak", "memory", "small", {"draws": draws})
        timing = race([program], rounds=1, most=1)["ropeleak"]
        rows.append((f"{draws:,}", f"{timing.gigabytes * 1024:.0f}", f"{timing.typical:.1f}"))
    print_table("Peak memory by draws", ("draws", "MB", "seconds"), rows)

"""How the time of a content grows with context and width, against the number of operations."""

from .race import Program, race
from .tables import print_table
from .task_b import CONTENTS, Shape

SHAPES = (
    *(Shape(context=context) for context in (64, 128, 256, 512, 1024)),
    *(Shape(d_model=d, heads=d // 64) for d in (128, 512, 1024)),
)


def run() -> None:
    """Print seconds a content, operations a content, and operations a second."""
    rows = []
    for shape in SHAPES:
        draws = max(round(4e10 / shape.operations / CONTENTS), 2)
        same = {"sizes": list(shape), "draws": draws}
        timing = race([Program("ropeleak", "task_b", "ropeleak", same)], rounds=3, most=9)
        seconds = timing["ropeleak"].typical / draws / CONTENTS
        rows.append(
            (
                f"d_model {shape.d_model}, context {shape.context}", f"{seconds * 1e3:.2f}",
                f"{shape.operations / 1e9:.2f}", f"{shape.operations / seconds / 1e9:.0f}",
                f"{timing['ropeleak'].gigabytes:.2f}", timing["ropeleak"].remark,
            )
        )  # fmt: skip
    print_table(
        "Scaling: 6 blocks, heads of 64",
        ("stack", "ms a content", "GFLOP a content", "GFLOP/s", "GB", "quiet runs"), rows,
    )  # fmt: skip

"""Draw the pictures that are kept, ``python -m tools.pictures``: the README's, and the tests'.

The tests compare every figure with the picture that was kept of it. Look at what has changed before
you keep it.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ropeleak.drawing import style
from ropeleak.figures import load, names
from ropeleak.figures.bench import Bench

ROOT = Path(__file__).parents[1]
README_PICTURE = ROOT / "docs" / "holes.png"
KEPT = ROOT / "tests" / "figures" / "pictures"
DPI = 72

Pixels = NDArray[np.float64]


def pixels(figure: Figure) -> Pixels:
    """Return a figure as grey levels from 0 to 255 (rows, columns), small and without a file."""
    figure.set_dpi(DPI)
    with style.context(), BytesIO() as file:
        figure.savefig(file, format="rgba", dpi=DPI)
        width, height = FigureCanvasAgg(figure).get_width_height()
        colours = np.frombuffer(file.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]
    return np.asarray(colours.mean(axis=-1).round(), dtype=np.float64)


def kept(name: str) -> Pixels:
    """Return what `pixels` was when the picture of a figure was kept."""
    return np.asarray(Image.open(KEPT / f"{name}.png"), dtype=float)


def difference(first: Pixels, second: Pixels) -> float:
    """Return the root mean square difference of grey levels; infinite between sizes."""
    if first.shape != second.shape:
        return float("inf")
    return float(np.sqrt(((first - second) ** 2).mean()))


def main() -> None:
    """Draw all pictures anew."""
    bench = Bench("small")
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in names():
        recipe = load(name)
        reason = recipe.missing()
        if reason is not None:
            print(f"left out {name}: {reason}")
            continue
        data: Any = recipe.data(bench)
        grey = pixels(recipe.draw(data)).astype(np.uint8)
        Image.fromarray(grey).save(KEPT / f"{name}.png", optimize=True)
        print(f"kept {name}")
    holes = load("holes")
    style.save(holes.draw(holes.data(bench)), README_PICTURE)


if __name__ == "__main__":
    main()

"""The trainings: every architecture from several seeds, and where their files are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .architectures import CHANGES, SEEDS, architecture
from .text import standard_library

STATE, STACK, LOG = "state.pt", "stack.json", "log.json"
"""Files of a run: what training resumes from, the architecture, and what it took."""


@dataclass(frozen=True)
class Run:
    """One training: an architecture and a seed."""

    architecture: str
    seed: int

    def __str__(self) -> str:
        """Return its name in words."""
        return f"{self.architecture} (seed {self.seed})"

    @property
    def stack(self) -> Stack:
        """The architecture, for the text at hand."""
        return architecture(self.architecture, standard_library().distinct)

    def folder(self, out: Path) -> Path:
        """Return where its files are kept."""
        return out / self.architecture.replace(", ", "-").replace(" ", "-") / f"seed-{self.seed}"


def weights_file(folder: Path, step: int) -> Path:
    """Return where a run keeps the weights of a step."""
    return folder / f"step-{step:05d}.safetensors"


def all_runs(only: Sequence[str] = ()) -> list[Run]:
    """Return every training, a seed at a time, or those of some architectures.

    Raises
    ------
    RopeleakError
        If there is no architecture of a name.
    """
    for name in only:
        if name not in CHANGES:
            raise RopeleakError(f"there is no architecture {name!r}: give {', '.join(CHANGES)}")
    return [Run(name, seed) for seed in SEEDS for name in only or CHANGES]

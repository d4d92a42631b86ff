"""Theorems: results whose derivations SymPy verifies, and whose formulas compute.

A row of `TABLE` per theorem; nothing of SymPy is loaded before a theorem is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import nearest, shorten

if TYPE_CHECKING:
    from .theorem import Theorem

__all__ = ["TABLE", "Row", "load", "names"]


class Row(NamedTuple):
    """One theorem of the registry: its family and the module that holds it."""

    name: str
    family: str
    module: str


def _rows(family: str, module: str, *names: str) -> list[Row]:
    return [Row(name, family, module) for name in names]


TABLE: dict[str, Row] = {
    row.name: row
    for row in (
        *_rows("rope", "rope", "rope-group-law", "rope-relative", "rope-converse"),
        *_rows("rope", "rope_breaks", "rope-break", "rope-break-mean", "rope-dynamic",
               "rope-switch", "rope-cache"),
        *_rows("rope", "rope_kernel", "rope-kernel", "rope-kernel-series", "rope-kernel-decay",
               "rope-kernel-rms"),
        *_rows("rope", "rope_angles", "rope-wavelengths", "rope-unseen", "rope-unseen-comb"),
        *_rows("softmax", "denominator", "denominator-moments", "log-denominator",
               "log-denominator-series", "log-denominator-bounds"),
        *_rows("softmax", "null_key", "null-key-denominator", "null-key-row-sum",
               "null-key-row-sum-square", "null-key-participation"),
        *_rows("softmax", "participation", "participation-ratio", "participation-series",
               "denominator-heat", "attention-entropy"),
        *_rows("softmax", "finite_head", "finite-head", "finite-head-denominator",
               "finite-head-participation"),
        *_rows("softmax", "key_share", "key-share", "key-weights", "shared-choice"),
        *_rows("softmax", "mask_leak", "mask-gradient", "mask-gradient-series", "window-keys",
               "mask-leak-constant"),
        *_rows("uniform", "averaging", "averaging-hausdorff", "averaging-eigenvectors",
               "averaging-generating", "averaging-function"),
        *_rows("uniform", "averaging_powers", "averaging-power", "averaging-asymptotics",
               "averaging-primacy", "averaging-convolution"),
        *_rows("uniform", "rollout", "rollout", "rollout-collapse", "uniform-kernels",
               "variance-shrinkage", "variance-profile"),
        *_rows("origin", "origin", "origin-closed", "origin-null-key", "origin-variance",
               "origin-without-norm", "origin-after-norm", "origin-post-norm"),
        *_rows("reach", "reach", "window-reach", "alternating-reach", "shift-invariance",
               "chunk-keys"),
        *_rows("ruler", "ruler", "ruler-linear", "ruler-norm", "ruler-fisher", "ruler-scaling",
               "ruler-depth"),
        *_rows("precision", "precision", "rounding-error", "precision-angle",
               "precision-positions", "precision-tables", "precision-rotation", "precision-bound",
               "precision-tail"),
        *_rows("residual", "residual", "residual-leak", "frequencies-drop-out"),
    )
}  # fmt: skip


def names() -> tuple[str, ...]:
    """Return the names of all theorems, by family."""
    return tuple(TABLE)


def load(name: str) -> "Theorem":
    """Return a theorem by its name.

    Raises
    ------
    RopeleakError
        If there is none of that name (the nearest is suggested).
    """
    row = TABLE.get(name.strip().lower())
    if row is None:
        close = nearest(name, list(TABLE), cutoff=0.0)
        raise RopeleakError(f"there is no theorem {shorten(name)}: did you mean {close}?")
    module = import_module(f".{row.module}", __name__)
    theorem: Theorem = getattr(module, row.name.replace("-", "_"))()
    return theorem

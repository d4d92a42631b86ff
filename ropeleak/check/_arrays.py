"""NumPy, PyTorch and JAX arrays behind one door; only NumPy is ever required."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Dtype(NamedTuple):
    """A floating-point format.

    Parameters
    ----------
    bits
        Bits of the significand, the implicit one included.
    largest
        Largest finite number.
    module, name
        Where NumPy finds it, and what every framework calls it.
    """

    bits: int
    largest: float
    module: str
    name: str

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number: ``2^(1 - bits)``."""
        return float(2.0 ** (1 - self.bits))


DTYPES = {
    "fp64": Dtype(53, 1.7976931348623157e308, "numpy", "float64"),
    "fp32": Dtype(24, 3.4028234663852886e38, "numpy", "float32"),
    "fp16": Dtype(11, 65504.0, "numpy", "float16"),
    "bf16": Dtype(8, 3.3895313892515355e38, "ml_dtypes", "bfloat16"),
}
FRAMEWORKS = {"numpy": "numpy", "torch": "torch", "jax": "jax.numpy"}


def dtype_named(name: str) -> Dtype:
    """Return a format by its short name (``fp64``, ``fp32``, ``bf16``, ``fp16``) or its long one.

    Raises
    ------
    RopeleakError
        If there is no such format.
    """
    long = {dtype.name: dtype for dtype in DTYPES.values()}
    found = DTYPES.get(name) or long.get(str(name).removeprefix("torch."))
    if found is None:
        raise RopeleakError(f"dtype={name!r} is not known: choose one of {', '.join(DTYPES)}")
    return found


def framework_of(fn: object) -> str:
    """Return which framework a function computes in, by what its module has imported.

    A function says it itself with an attribute ``framework``; what nothing is known of takes NumPy.
    """
    declared = getattr(fn, "framework", None)
    if isinstance(declared, str):
        return declared
    holder = fn if hasattr(fn, "__globals__") else getattr(fn, "forward", None) or fn
    holder = getattr(holder, "__wrapped__", holder)
    names = getattr(holder, "__globals__", None)
    if names is None:
        module = sys.modules.get(getattr(type(fn), "__module__", ""))
        names = vars(module) if module is not None else {}
    cells = [_content(cell) for cell in getattr(holder, "__closure__", None) or ()]
    used = {
        value.__name__.split(".")[0]
        for value in (*names.values(), *cells)
        if isinstance(value, ModuleType)
    }
    return next((name for name in ("torch", "jax") if name in used), "numpy")


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


class Door:
    """To and from the arrays of one framework in one dtype.

    Parameters
    ----------
    framework
        ``numpy``, ``torch`` or ``jax``.
    dtype
        The format that queries and keys are given in.
    device
        Where PyTorch puts its arrays; its default unless given.

    Raises
    ------
    RopeleakError
        If the framework, the dtype or the device is not known, not installed or not there.
    """

    def __init__(self, framework: str, dtype: str, device: str | None = None) -> None:
        if framework not in FRAMEWORKS:
            raise RopeleakError(
                f"framework={framework!r} is not known: choose one of {', '.join(FRAMEWORKS)}"
            )
        if device is not None and framework != "torch":
            raise RopeleakError(
                f"device={device!r} is for PyTorch, not {framework}: leave it out, or give"
                " framework='torch'"
            )
        self.framework = framework
        self.device = device
        self.dtype = dtype_named(dtype)
        self._xp = _module(FRAMEWORKS[framework], f"framework={framework!r}")
        home = self.dtype.module if framework == "numpy" else FRAMEWORKS[framework]
        self._native = getattr(_module(home, f"dtype={dtype!r} in NumPy"), self.dtype.name)
        if device is not None:
            try:
                self.array(np.zeros(1))
            except Exception as error:
                told = " ".join(str(error).split())[:200]
                raise RopeleakError(f"device={device!r} cannot be used: {told}") from error
        if framework == "jax" and self.array(np.zeros(1)).dtype != self._native:
            raise RopeleakError(
                f"dtype={dtype!r} is switched off in JAX: set jax_enable_x64, or choose fp32"
            )

    def array(self, values: Floats) -> Any:
        """Return values as a native array in the dtype, which a function may write into."""
        if self.framework == "torch":
            return self._xp.tensor(values, dtype=self._native, device=self.device)
        return self._xp.array(values, dtype=self._native)

    def integers(self, values: Integers) -> Any:
        """Return positions as a native array of the framework's usual integers."""
        if self.framework == "torch":
            return self._xp.tensor(values, device=self.device)
        return self._xp.array(values)

    def rounded(self, values: Floats) -> Floats:
        """Return values as they are in the dtype."""
        return self.floats(self.array(values))

    def floats(self, native: Any) -> Floats:
        """Return a native array in float64."""
        if self.framework == "torch":
            native = native.detach().to(self._xp.float64).cpu().numpy()
        return np.asarray(native).astype(np.float64)

    def same_dtype(self, native: Any) -> bool:
        """Whether a native array has the dtype."""
        return bool(native.dtype == self._native)

    def is_array(self, value: object) -> bool:
        """Whether a value is an array of the framework."""
        if self.framework == "numpy":
            return isinstance(value, np.ndarray)
        return hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "swapaxes")


def stacked(arrays: list[Any], axis: int = 0) -> Any:
    """Stack native arrays of any framework along a new axis."""
    home = type(arrays[0]).__module__.split(".")[0]
    if home == "torch":
        return sys.modules["torch"].stack(arrays, dim=axis)
    if home in ("jax", "jaxlib"):
        return sys.modules["jax.numpy"].stack(arrays, axis=axis)
    return np.stack(arrays, axis=axis)


def _module(name: str, wanted_by: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise RopeleakError(
            f"{wanted_by} needs {package}, which is not installed: pip install {package}"
        ) from None


Native = Callable[..., Any]

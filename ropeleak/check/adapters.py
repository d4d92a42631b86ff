"""Other signatures than ``(q, k, positions)``, made into it.

The checks call ``fn(q, k, positions)`` with queries and keys of shape ``(batch, heads, tokens,
head_size)`` and integer positions of shape ``(batch, tokens)``, and expect rotated queries and keys
of the same shape and dtype. An adapter turns a function with another signature into such a
function. Which entries of a head form a pair, ``(k, k + d/2)`` or ``(2k, 2k + 1)``, needs no
adapter: the checks find it out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Literal

from ropeleak.errors import RopeleakError

from ._arrays import framework_of, stacked

Rotary = Callable[[Any, Any, Any], tuple[Any, Any]]
Axes = Literal["bhtd", "bthd", "btd", "htd", "thd", "td"]
AXES: tuple[Axes, ...] = ("bhtd", "bthd", "btd", "htd", "thd", "td")


@dataclass(frozen=True)
class Adapted:
    """A function with the signature ``(q, k, positions)``, and what is known of it.

    Parameters
    ----------
    call
        The function.
    name
        What reports call it.
    framework
        ``numpy``, ``torch`` or ``jax``.
    head_size
        The only head size that it takes, if any.
    """

    call: Rotary
    name: str
    framework: str
    head_size: int | None = None

    def __call__(self, q: Any, k: Any, positions: Any) -> tuple[Any, Any]:
        """Rotate."""
        return self.call(q, k, positions)


def positional(
    fn: Callable[..., Any], *, axes: Axes = "bhtd", positions: Literal["bt", "t"] = "bt"
) -> Adapted:
    """Adapt ``fn(q, k, positions)`` with other axes.

    Parameters
    ----------
    fn
        Returns the rotated pair.
    axes
        Axes of ``q`` and ``k``: batch, heads, tokens, head entries. Without ``b`` the function is
        called row by row, without ``h`` head by head.
    positions
        Axes of the positions; ``t`` means that all rows share them, so rows go one by one.
    """
    _known(axes)
    return _adapted(_arranged(fn, axes, one_row=positions == "t" or "b" not in axes), fn)


def single(
    fn: Callable[..., Any], *, axes: Axes = "bhtd", positions: Literal["bt", "t"] = "bt"
) -> Adapted:
    """Adapt ``fn(x, positions)``, which rotates one array; parameters as for `positional`."""

    def both(q: Any, k: Any, p: Any) -> tuple[Any, Any]:
        return fn(q, p), fn(k, p)

    _known(axes)
    return _adapted(_arranged(both, axes, one_row=positions == "t" or "b" not in axes), fn)


def cos_sin(
    apply: Callable[..., Any],
    tables: Callable[..., Any],
    *,
    axes: Axes = "bhtd",
    head_size: int | None = None,
) -> Adapted:
    """Adapt ``apply(q, k, cos, sin)`` as in transformers.

    Parameters
    ----------
    apply
        Takes tables of shape ``(batch, tokens, rotary_dim)``; returns the rotated pair.
    tables
        ``tables(positions)`` or, as a transformers rotary embedding, ``tables(x, position_ids)``;
        returns ``cos, sin``.
    axes
        Axes of ``q`` and ``k`` (``bhtd`` or ``bthd``).
    head_size
        The only one that the tables are made for, if so.
    """
    takes_x = required_parameters(tables) >= 2

    def rotate(q: Any, k: Any, p: Any) -> tuple[Any, Any]:
        cos, sin = _pair(tables(q, p) if takes_x else tables(p), "cos and sin")
        return _pair(apply(q, k, cos, sin))

    _known(axes)
    return _adapted(_arranged(rotate, axes, one_row=False), apply, head_size)


def freqs_cis(
    apply: Callable[..., Any], table: Any, *, axes: Axes = "bthd", head_size: int | None = None
) -> Adapted:
    """Adapt ``apply(xq, xk, freqs_cis)`` with complex ``freqs_cis``, as in Meta's Llama code.

    Parameters
    ----------
    apply
        Takes ``freqs_cis`` of shape ``(tokens, head_size / 2)``, so rows go one by one; of shape
        ``(batch, tokens, head_size / 2)`` if ``table`` is a rotary embedding.
    table
        ``freqs_cis`` of all positions, shape ``(positions, head_size / 2)``, a function of the
        positions that returns their rows, or, as a transformers rotary embedding, of
        ``(x, position_ids)``.
    axes
        Axes of ``xq`` and ``xk``.
    head_size
        The only one that the table is made for; read off the table unless given.
    """
    takes_x = callable(table) and required_parameters(table) >= 2
    look_up = table if callable(table) else table.__getitem__
    if not callable(table):
        head_size = head_size or 2 * int(table.shape[-1])

    def rotate(q: Any, k: Any, p: Any) -> tuple[Any, Any]:
        return _pair(apply(q, k, look_up(q, p) if takes_x else look_up(p)))

    _known(axes)
    return _adapted(_arranged(rotate, axes, one_row=not takes_x), apply, head_size)


def adapted(fn: Callable[..., Any], tables: Any = None, axes: Axes | None = None) -> Adapted:
    """Choose the adapter by the names of a function's parameters.

    Parameters
    ----------
    fn
        ``(q, k, positions)``, ``(q, k, cos, sin)``, ``(xq, xk, freqs_cis)`` or ``(x, positions)``.
    tables
        What the second and the third take their tables from.
    axes
        As the adapter's; its default unless given.

    Raises
    ------
    RopeleakError
        If the signature is none of these, or lacks its tables.
    """
    if isinstance(fn, Adapted):
        return fn
    names = parameter_names(fn)
    given: dict[str, Any] = {} if axes is None else {"axes": axes}
    if len(names) >= 4 and names[2].startswith("cos") and names[3].startswith("sin"):
        return cos_sin(fn, _needed(tables, fn, "tables(positions) -> (cos, sin)"), **given)
    if len(names) >= 3 and "freq" in names[2]:
        return freqs_cis(fn, _needed(tables, fn, "the array freqs_cis"), **given)
    count = required_parameters(fn)
    if count == 2:
        return single(fn, **given)
    if count == 3:
        return positional(fn, **given)
    raise RopeleakError(
        f"{name_of(fn)} takes ({', '.join(names)}): give a function of (q, k, positions),"
        " (q, k, cos, sin), (xq, xk, freqs_cis) or (x, positions), or use ropeleak.check.adapters"
    )


def is_attention(fn: Callable[..., Any]) -> bool:
    """Whether a function takes values too: ``(q, k, v, positions)``."""
    return callable(fn) and [name.lstrip("x")[:1] for name in parameter_names(fn)[:3]] == [*"qkv"]


def name_of(fn: object) -> str:
    """Return what reports call a function."""
    name = getattr(fn, "name", None) or getattr(fn, "__qualname__", None)
    return str(name or type(fn).__name__)


def parameter_names(fn: Callable[..., Any]) -> list[str]:
    """Return the names of the positional parameters."""
    return [p.name for p in _parameters(fn)]


def required_parameters(fn: Callable[..., Any]) -> int:
    """Return how many positional parameters have no default."""
    return sum(p.default is Parameter.empty for p in _parameters(fn))


def _parameters(fn: Callable[..., Any]) -> list[Parameter]:
    target = getattr(fn, "forward", fn)  # a torch module's call takes anything
    try:
        parameters = signature(target).parameters.values()
    except (TypeError, ValueError):
        raise RopeleakError(
            f"the parameters of {name_of(fn)} cannot be read: wrap it in a Python function of"
            " (q, k, positions)"
        ) from None
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _pair(answer: Any, what: str = "the two rotated arrays") -> tuple[Any, Any]:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        kind = "None" if answer is None else f"a {type(answer).__name__}"
        if isinstance(answer, tuple | list):
            kind += f" of {len(answer)}"
        raise RopeleakError(
            f"a function returned {kind}, not {what}: return both, or write a function of"
            " (x, positions) that rotates one array"
        )
    return answer[0], answer[1]


def _needed(tables: Any, fn: object, what: str) -> Any:
    if tables is None:
        raise RopeleakError(f"{name_of(fn)} takes tables: give tables={what} (--tables)")
    return tables


def _known(axes: str) -> None:
    if axes not in AXES:
        raise RopeleakError(f"axes={axes!r} is not known: choose one of {', '.join(AXES)}")


def _adapted(call: Rotary, fn: object, head_size: int | None = None) -> Adapted:
    return Adapted(call, name_of(fn), framework_of(fn), head_size)


def _arranged(fn: Callable[..., Any], axes: Axes, *, one_row: bool) -> Rotary:
    """Return ``fn`` with canonical axes; single rows keep a batch axis of 1 if the axes have one.

    Positions of single rows have none.
    """
    keep = "b" in axes
    heads_last = "th" in axes

    def swap(x: Any) -> Any:
        return x.swapaxes(-3, -2) if heads_last else x

    def one(q: Any, k: Any, p: Any) -> tuple[Any, Any]:
        """Call with the heads, if the function has them."""
        if "h" in axes:
            rotated_q, rotated_k = _pair(fn(swap(q), swap(k), p))
            return swap(rotated_q), swap(rotated_k)
        axis = q.ndim - 3
        n = min(q.shape[axis], k.shape[axis])
        pairs = [_pair(fn(q[..., h, :, :], k[..., h, :, :], p)) for h in range(n)]
        return stacked([a for a, _ in pairs], axis), stacked([b for _, b in pairs], axis)

    def row(q: Any, k: Any, p: Any, b: int) -> tuple[Any, Any]:
        if not keep:
            return one(q[b], k[b], p[b])
        rotated_q, rotated_k = one(q[b : b + 1], k[b : b + 1], p[b])
        return rotated_q[0], rotated_k[0]

    def rotate(q: Any, k: Any, p: Any) -> tuple[Any, Any]:
        if not one_row:
            return one(q, k, p)
        rows = [row(q, k, p, b) for b in range(q.shape[0])]
        return stacked([a for a, _ in rows]), stacked([b for _, b in rows])

    return rotate

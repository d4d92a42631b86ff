"""`predict`, `measure` and `Result`: the face of ropeleak."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np

from .errors import RopeleakError
from .numbers import Array, Numbers
from .observables import GIVEN
from .output import ENGINE, save_netcdf
from .selection import pair_of_positions, representative_blocks
from .spec import Stack
from .weights.files import config_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from .weights import Files
    from .weights import Source as Contents

Source = Union[Stack, str, "os.PathLike[str]", Mapping[str, Any]]
Keep = Literal["summary", "full"]
Positions = Literal["auto", "dense", "grid", "coarse"]
Method = Literal["mean-field", "uniform", "sampled"]

_REQUIRED = ("leak_mask", "leak_residual", "leak_total", "beacon", "k_diag")


def load_stack(source: Source, context: int | None = None) -> Stack:
    """Return the architecture that a stack, a bundled name, a config or its path stands for.

    Parameters
    ----------
    source
        A `Stack`, the name of a bundled model (see `ropeleak.catalog`), the path of a Hugging
        Face ``config.json`` or of its folder, or the parsed config.
    context
        Number of tokens; what ``source`` says, or at most 512 for a config, unless given.

    Raises
    ------
    RopeleakError
        If there is no such model or file, or the config cannot be treated.
    """
    if isinstance(source, Stack):
        return source if context is None else source.set("context", context)
    if isinstance(source, Mapping):
        return Stack.from_hf(dict(source), context=context)
    from . import catalog

    return catalog.open_model(source, context)


def predict(
    source: Source,
    *,
    context: int | None = None,
    keep: Keep = "summary",
    positions: Positions = "auto",
    method: Method = "mean-field",
    seed: int | None = None,
    heads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> "Result":
    """Predict how much absolute position an architecture leaks at initialisation.

    Parameters
    ----------
    source
        A `Stack`, a bundled model's name, a ``config.json`` path, or the parsed config.
    context
        Number of tokens ``T``.
    keep
        ``"full"`` adds the matrices ``K``, ``Q`` and ``Q_common``, shape ``(L+1, T, T)``.
    positions
        ``"dense"`` computes every position, ``"grid"`` a log-spaced selection of them, ``"coarse"``
        about half as many; ``"auto"`` is dense while that is quick.
    method
        ``"mean-field"`` is the closed recursion, ``"uniform"`` its limit of small scores,
        ``"sampled"`` draws heads at random, which is slower and has standard errors
        (``<name>_se``) but expands in nothing.
    seed, heads
        Of the sampled method: the seed of its random numbers (0 unless given), and the heads that
        each of its chains draws in every block.
    progress
        Called with the number of finished blocks after each of them.

    Raises
    ------
    RopeleakError
        If the source is unknown, cannot be treated, or needs more memory than there is.

    Examples
    --------
    >>> result = predict("llama-3.1-8b", context=128)  # doctest: +SKIP
    >>> print(result.verdict())  # doctest: +SKIP
    """
    stack = load_stack(source, context)
    from ropeleak.theory.methods import predictor

    run = predictor(method, seed=seed, heads=heads)
    with in_range(stack):
        return Result(run(stack, keep=keep, positions=positions, progress=progress))


def measure(
    source: Source | None = None,
    *,
    context: int | None = None,
    width: int | None = None,
    draws: int | None = None,
    contents: "Contents | None" = None,
    seed: int = 0,
    target_se: float | None = None,
    keep: Keep = "summary",
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: "Callable[[Any], None] | None" = None,
    weights: "Files | None" = None,
    bos_token: int | None = None,
) -> "Result":
    """Measure what `predict` predicts: on random weights (Monte Carlo), or in given ones.

    Parameters
    ----------
    source, context, keep
        As in `predict`; of given weights the ``config.json`` beside them unless given.
    width
        Measure a narrow stand-in with this ``d_model`` instead: see `Stack.proxy`.
    draws
        Draws of weights; 100 unless given, or as many as ``target_se`` takes.
    contents
        Contents that run through each draw, 8 unless given. Of given weights: how many contents
        of random tokens, 36 unless given; or token ids without BOS, one row a content; or the
        path of a text or of a ``.npy`` file of ids.
    seed
        Decides every random number: the same seed gives the same numbers.
    target_se
        Largest standard error of the leaks (nats RMS) and the beacon that is wanted.
    threads
        Draws made, or batches of contents run, at the same time; as many as there are processors
        unless given.
    checkpoint
        File that is written every few seconds and taken up where it exists.
    progress
        Called with a `ropeleak.simulate.Progress` after every draw; of given weights, with the
        number of finished blocks.
    weights
        A ``.safetensors`` file, a folder that holds one or a sharded checkpoint, or arrays by
        name: see `ropeleak.simulate.measure_weights`.
    bos_token
        Token id of BOS in given weights; what their ``config.json`` says unless given.

    Raises
    ------
    RopeleakError
        If the source cannot be measured, a number is out of range, there is too little memory,
        weights or contents cannot be read or do not fit, or the checkpoint cannot be used.

    Examples
    --------
    >>> result = measure("pythia-160m", context=64, width=128, draws=20)  # doctest: +SKIP
    >>> float(result.dataset["leak_mask_se"].max())  # doctest: +SKIP
    >>> result = measure(weights="path/to/model", contents="book.txt")  # doctest: +SKIP
    """
    stack = load_stack(config_of(weights) if source is None else source, context)
    from ropeleak import simulate

    common: dict[str, Any] = {"seed": seed, "keep": keep, "threads": threads,
                              "checkpoint": checkpoint, "progress": progress}  # fmt: skip
    if contents is not None:
        common["contents"] = contents
    if weights is not None:
        refuse_of_weights(width=width, draws=draws, target_se=target_se)
        return Result(simulate.measure_weights(stack, weights, bos_token=bos_token, **common))
    if width is not None:
        stack = stack.proxy(width)
    with in_range(stack):
        return Result(simulate.measure(stack, draws=draws, target_se=target_se, **common))


def refuse_of_weights(**options: object) -> None:
    """Raise `RopeleakError` for an option of random weights that is not None."""
    for name, value in options.items():
        if value is not None:
            raise RopeleakError(f"{name}={value} is for random weights: leave it or weights out")


@contextmanager
def in_range(stack: Stack) -> Iterator[None]:
    """Turn an overflow into a sentence about the numbers that lead to it."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except (FloatingPointError, OverflowError) as error:
        largest = max(stack.score_std(block) for block in range(stack.n_blocks))
        raise RopeleakError(
            f"the numbers of {stack.name} leave the range of floating point ({error}), with"
            f" init.std={stack.init.std:.3g}, score_std={largest:.3g} and"
            f" embedding_var={stack.embedding_var:.3g}: bring what is extreme nearer to 1"
        ) from None


class Result:
    """Labelled numbers about one architecture, with what to do with them.

    Parameters
    ----------
    dataset
        Variables named as in `ropeleak.observables`; attributes ``stack`` (JSON), ``method``,
        ``positions``, ``ropeleak`` (version) and ``approximations`` (one sentence a line). Where
        ``<name>_se`` exists it is the standard error of ``<name>``. Or the same as `Numbers`.

    Raises
    ------
    RopeleakError
        If the dataset is not one of ropeleak's.
    """

    def __init__(self, dataset: "xr.Dataset | Numbers") -> None:
        names = dataset.variables
        missing = [name for name in _REQUIRED if name not in names]
        if missing or "stack" not in dataset.attrs:
            lacking = missing[0] if missing else "attribute stack"
            raise RopeleakError(f"this dataset is not a ropeleak result: it has no {lacking}")
        if isinstance(dataset, Numbers):
            self.numbers = dataset
        else:
            self.dataset = dataset
        self._attrs = dataset.attrs
        try:
            self.stack = Stack.model_validate_json(dataset.attrs["stack"])
        except ValueError:
            raise RopeleakError(
                "this dataset's architecture cannot be read: it was written by another version"
                f" of ropeleak ({dataset.attrs.get('ropeleak', 'unknown')})"
            ) from None
        self._cues: dict[tuple[int, int], dict[str, Array]] = {}
        self._rulers: dict[tuple[int, int], xr.Dataset] = {}

    @cached_property
    def dataset(self) -> "xr.Dataset":
        """The numbers, labelled."""
        return self.numbers.dataset()

    @cached_property
    def numbers(self) -> Numbers:
        """The numbers as plain arrays."""
        return Numbers.of(self.dataset)

    # Files

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the dataset as netCDF and return the path; on failure nothing is left there.

        Raises
        ------
        RopeleakError
            If the file cannot be written.
        """
        save_netcdf(self.dataset, path)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Result":
        """Read what `save` wrote.

        Raises
        ------
        RopeleakError
            If the file is missing, unreadable, or not a ropeleak result.
        """
        import xarray as xr

        try:
            with open(path, "rb"):
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RopeleakError(f"cannot read {path}: {reason}") from None
        try:
            dataset = xr.load_dataset(path, engine=ENGINE)
        except ImportError:
            raise
        except Exception:  # a damaged file makes HDF5 raise almost anything
            raise RopeleakError(f"cannot read {path}: it is not a netCDF file") from None
        try:
            return cls(dataset)
        except RopeleakError as error:
            raise RopeleakError(f"cannot read {path}: {error}") from None

    # Numbers

    @property
    def approximations(self) -> list[str]:
        """What the numbers leave out of the model, one sentence each."""
        return [line for line in self._attrs.get("approximations", "").split("\n") if line]

    @property
    def is_given(self) -> bool:
        """Whether the numbers are about given weights, not about random ones."""
        return bool(self._attrs.get("method") == GIVEN)

    def ruler(self, i: int, i2: int) -> "xr.Dataset":
        """Return how well the same token at positions ``i`` and ``i2`` can be told apart.

        Predicted for random weights of this architecture.

        Returns
        -------
        xarray.Dataset
            ``linear``, ``norm`` and ``combined``, each d′ in standard deviations, over
            ``depth`` 0..L.

        Raises
        ------
        RopeleakError
            If a position is outside the context, or the numbers are about given weights.
        """
        if (i, i2) not in self._rulers:
            from ropeleak.theory.ruler import labelled

            self._rulers[i, i2] = labelled(self.cues(i, i2), i, i2)
        return self._rulers[i, i2]

    def cues(self, i: int, i2: int) -> dict[str, Array]:
        """Return the variables of `ruler` as plain arrays."""
        if self.is_given:
            raise RopeleakError(
                "rulers are predictions for random weights: predict(result.stack) has them"
            )
        if (i, i2) not in self._cues:
            from ropeleak.theory.ruler import cues

            with in_range(self.stack):
                self._cues[i, i2] = cues(self.stack, i, i2)
        return self._cues[i, i2]

    def table(
        self, max_rows: int | None = None, positions: Sequence[int] | None = None
    ) -> "pd.DataFrame":
        """Return the leaks per block, and the state after it at some query positions.

        Parameters
        ----------
        max_rows
            Show at most so many representative blocks, the first and the last among them.
        positions
            Query positions of the columns ``beacon[i]``, ``k_diag[i]`` (after the block) and
            ``sink_excess[i]`` (in it); the pair that the verdict names unless given.

        Returns
        -------
        pandas.DataFrame
            Indexed by ``block`` (1..L); what is not defined is NaN.
        """
        import pandas as pd

        columns = self.columns(max_rows, positions)
        return pd.DataFrame(columns, index=pd.Index(columns.pop("block"), name="block"))

    def columns(
        self, max_rows: int | None = None, positions: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Return the columns of `table`, ``block`` first, as plain arrays."""
        from .describe import keys_seen

        numbers = self.numbers
        blocks = np.array(representative_blocks(numbers.variables["leak_mask"], max_rows))
        columns: dict[str, Any] = {
            "block": blocks,
            "keys": [keys_seen(self.stack.attention[block - 1]) for block in blocks],
        }
        for name in ("leak_mask", "leak_residual", "leak_total"):
            columns[name] = numbers.variables[name][blocks - 1]
        if positions is None:
            positions = pair_of_positions(self.stack.context)
        for i in positions:
            for name, first in (("beacon", 0), ("k_diag", 0), ("sink_excess", 1)):
                if name in numbers.variables:
                    columns[f"{name}[{i}]"] = numbers.at(name, i)[blocks - first]
        return columns

    # Words and pictures

    def verdict(self) -> str:
        """Return what the numbers say, in plain words, one sentence or two a line."""
        from .verdict import sentences

        pair = pair_of_positions(self.stack.context)
        ruler = self.cues(*pair) if len(pair) == 2 and not self.is_given else None
        return "\n".join(sentences(self.numbers, self.stack, ruler, pair))

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Figure":
        """Draw leak, beacon, variance and softmax denominator; save it where a path is given.

        Parameters
        ----------
        path
            A ``.pdf``, ``.png`` or ``.svg`` file.

        Raises
        ------
        RopeleakError
            If the file cannot be written or its suffix names no known format.
        """
        return plot_all({self.stack.name: self}, path)

    def __repr__(self) -> str:
        method = self._attrs.get("method", "unknown method")
        return (
            f"<ropeleak.Result {self.stack.name!r}: {self.stack.n_blocks} blocks,"
            f" context {self.stack.context}, {method}>"
        )

    def _repr_html_(self) -> str:
        verdict = "".join(f"<p>{escape(line)}</p>" for line in self.verdict().split("\n"))
        table = self.table(max_rows=12).to_html(float_format=lambda value: f"{value:.3g}")
        return f"<h4>{escape(self.stack.name)}</h4>{verdict}{table}"


def plot_all(results: Mapping[str, Result], path: str | os.PathLike[str] | None = None) -> "Figure":
    """Draw results over each other, by label, as `Result.plot` does for one."""
    from ropeleak.drawing import prediction, style

    from .output import atomic, check_figure

    if path is not None:
        check_figure(path)
    figure = prediction.plot({label: result.dataset for label, result in results.items()})
    if path is not None:
        with atomic(path) as temporary:
            style.save(figure, temporary)
    return figure


def plot_agreement(
    predicted: Result, measured: Result, path: str | os.PathLike[str] | None = None
) -> "Figure":
    """Draw a prediction as lines over a measurement as bands; save it where a path is given.

    Raises
    ------
    RopeleakError
        If the file cannot be written or its suffix names no known format.
    """
    from ropeleak.drawing import agreement, style

    from .output import atomic, check_figure

    if path is not None:
        check_figure(path)
    figure = agreement.plot(predicted.dataset, measured.dataset)
    if path is not None:
        with atomic(path) as temporary:
            style.save(figure, temporary)
    return figure

"""`Weights`: a checkpoint's matrices, biases and gains in the places of a stack."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.hf import model_type_of
from ropeleak.spec import Stack
from ropeleak.spec.explain import shorten

from .files import CONFIG, STORED, Files, Tensor, Tensors, folder_of
from .layouts import NORMS, layout_of
from .parts import Part, Sizes

Array = NDArray[Any]

_NOT_READ = ("rotary_emb.inv_freq", "attention.bias", "attention.masked_bias")
"""Ends of names that blocks of old checkpoints hold and that follow from the architecture."""
_NONE = np.zeros(0, np.float32)


class Weights:
    """The weights of one decoder, a part at a time; a part is read when it is asked for.

    Blocks count from 0. Biases and gains that the checkpoint does not have are empty arrays.

    Parameters
    ----------
    stack
        The architecture.
    source
        A ``.safetensors`` file, a folder with one or with a sharded checkpoint, or arrays by name.
    model_type
        Family whose layout the checkpoint has; what the ``config.json`` beside it says unless
        given, and Llama's where there is none.

    Attributes
    ----------
    folder
        Where the checkpoint is; None for arrays.

    Raises
    ------
    RopeleakError
        If a file cannot be read, a tensor is missing, has another shape than the stack needs or
        another type than those that are read, or does not belong to the stack.
    """

    def __init__(
        self,
        stack: Stack,
        source: Files,
        model_type: str | None = None,
    ) -> None:
        self.stack, self.tensors = stack, Tensors(source)
        self.folder = folder_of(source)
        if model_type is None and self.folder is not None and (self.folder / CONFIG).is_file():
            model_type = model_type_of(self.folder)
        self._layout = layout_of(model_type)
        self._seen: set[str] = set()
        self._root = self._find_root()
        self._check()

    @property
    def name(self) -> str:
        """Where the weights are from."""
        return self.tensors.name

    @property
    def vocab_size(self) -> int:
        """Number of tokens that have an embedding."""
        return int(self._embedding.values.shape[0])

    def embeddings(self, tokens: NDArray[np.int64]) -> Array:
        """Return the embeddings of tokens, multiplied as the stack says: shape (…, d)."""
        return self._embedding.part(tokens).numbers() * self.stack.embedding_multiplier

    def matrix(self, block: int, place: str, index: int = 0, rows: slice | None = None) -> Tensor:
        """Return one matrix (outputs, inputs), or some of its rows.

        Parameters
        ----------
        place
            ``query``, ``key``, ``value``, ``output``, ``up``, ``gate``, ``down`` or ``router``.
        index
            Number of the key-value head or of the expert; shared experts come last.
        rows
            Some of the matrix's rows; of ``output`` and ``down``, columns.
        """
        part, index, expert = self._part(block, place, index)
        tensor = self._tensor(self._name(block, part.name, expert) + part.weight)
        tensor = tensor.part(expert) if part.stacked else tensor
        chosen = part.span(self._sizes(block)).rows(index, rows)
        found = tensor.part((slice(None), chosen) if part.d_first else chosen)
        return found.transposed() if part.d_first != (place in ("output", "down")) else found

    def bias(self, block: int, place: str, index: int = 0, rows: slice | None = None) -> Array:
        """Return the bias of some of a matrix's outputs; of ``output`` and ``down``, of all."""
        part, index, expert = self._part(block, place, index)
        name = self._name(block, part.name, expert) + part.bias
        if name not in self.tensors:
            return _NONE
        tensor = self._tensor(name)
        tensor = tensor.part(expert) if part.stacked else tensor
        if place in ("output", "down"):
            return tensor.numbers()
        return tensor.part(part.span(self._sizes(block)).rows(index, rows)).numbers()

    def norm(self, block: int, place: str) -> tuple[Array, Array]:
        """Return gain and bias of the norm at one of the places of `NORMS`."""
        name = self._norm_name(block, place)
        if name is None:
            return _NONE, _NONE
        bias = f"{name}.bias"
        return self._gain(f"{name}.weight"), (
            self._tensor(bias).numbers() if bias in self.tensors else _NONE
        )

    def qk_gains(self, block: int) -> tuple[Array, Array]:
        """Return the gains of the QK-norms of queries and keys: of a head, or of all heads."""
        if self.stack.attention[block].qk_norm not in ("head", "projection"):
            return _NONE, _NONE
        names = self._layout.query_gain, self._layout.key_gain
        if not self._somewhere(*names):
            return _NONE, _NONE
        query, key = (self._gain(self._name(block, name)) for name in names)
        return query, key

    def null_logits(self, block: int) -> Array:
        """Return the logits of the null keys (heads,)."""
        return self._tensor(self._name(block, self._layout.null)).numbers()

    # Names and shapes

    def _find_root(self) -> str:
        end = self._layout.embedding
        names = [name for name in self.tensors if name == end or name.endswith(f".{end}")]
        if not names:
            raise RopeleakError(
                f"{self.name} has no tensor {end}: give the checkpoint of a decoder of this family"
            )
        name = min(names, key=len)
        self._embedding = self._checked(name, (None, self.stack.d_model))
        return name.removesuffix(end)

    def _name(self, block: int, name: str, expert: int = 0) -> str:
        below = self._layout.block.format(block=block) + name.format(expert=expert)
        return self._root + below

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise RopeleakError(
                f"{self.name} has no tensor {name}, which the architecture needs: give its own"
                " config, or the whole checkpoint"
            )
        self._seen.add(name)
        return self.tensors[name]

    def _checked(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        """Return a tensor of a certain shape; None stands for any length."""
        tensor = self._tensor(name)
        if tensor.kind not in STORED or tensor.kind == "U8":
            known = ", ".join(kind for kind in STORED if kind != "U8")
            raise RopeleakError(
                f"{name} in {self.name} is stored as {shorten(tensor.kind)}: give weights in one of"
                f" {known}"
            )
        found = tensor.values.shape
        fits = len(found) == len(shape) and all(
            b in (a, None) for a, b in zip(found, shape, strict=True)
        )
        if not fits:
            needed = " x ".join("…" if n is None else str(n) for n in shape)
            raise RopeleakError(
                f"{name} in {self.name} has shape {' x '.join(map(str, found)) or '1'} and the"
                f" architecture needs {needed}: give the config of these weights"
            )
        return tensor

    def _sizes(self, block: int) -> Sizes:
        stack, experts = self.stack, self.stack.mlp[block].experts
        return Sizes(
            d=stack.d_model, d_ff=stack.block_d_ff(block), groups=stack.n_kv_heads,
            queries=stack.n_heads // stack.n_kv_heads, size=stack.d_head,
            experts=experts.count if experts else 0,
        )  # fmt: skip

    def _part(self, block: int, place: str, index: int) -> tuple[Part, int, int]:
        """Return where a matrix is, its number in the tensor, and the expert that it is of."""
        layout, experts = self._layout, self.stack.mlp[block].experts
        if place == "router":
            return layout.router, 0, 0
        if place in layout.attention:
            return layout.attention[place], index, 0
        if experts is None:
            return layout.mlp[place], 0, 0
        if index < experts.count:
            return layout.experts[place], 0, index
        return layout.shared[place], 0, index - experts.count

    def _gain(self, name: str) -> Array:
        gain = self._tensor(name).numbers()
        gain += self._layout.gain_offset
        return gain

    def _norm_name(self, block: int, place: str) -> str | None:
        """Return the name of a norm; None where there is none, or none with a gain in any block."""
        names = NORMS[place].get(self.stack.norm.placement, ())
        whole = [self._name(block, name) for name in names]
        found = next((name for name in whole if f"{name}.weight" in self.tensors), None)
        if found is None and self._somewhere(*(f"{name}.weight" for name in names)):
            return whole[0]
        return found

    def _somewhere(self, *names: str) -> bool:
        """Whether any block has a tensor of one of these names below the block's."""
        blocks = range(self.stack.n_blocks)
        return any(self._name(block, name) in self.tensors for block in blocks for name in names)

    # Checks, before anything is computed

    def _check(self) -> None:
        if any(attention.latent is not None for attention in self.stack.attention):
            raise RopeleakError(
                "the weights of latent attention are not read: measure the architecture on random"
                " weights instead"
            )
        for block in range(self.stack.n_blocks):
            self._check_block(block)
        below = self._root + self._layout.block.split("{")[0]
        for name in self.tensors:
            if name.startswith(below) and name not in self._seen and not name.endswith(_NOT_READ):
                raise RopeleakError(self._stranger(name, below))

    def _stranger(self, name: str, below: str) -> str:
        number = name.removeprefix(below).split(".")[0]
        if number.isdigit() and int(number) >= self.stack.n_blocks:
            return (
                f"{self.name} holds block {number} ({name}) and the architecture has"
                f" {self.stack.n_blocks} blocks, from 0 on: give the config of these weights"
            )
        return (
            f"{self.name} holds {name}, which is no part of the architecture: give the config of"
            " these weights"
        )

    def _check_block(self, block: int) -> None:
        stack, sizes = self.stack, self._sizes(block)
        attention, mlp = stack.attention[block], stack.mlp[block]
        for place in ("query", "key", "value", "output"):
            self._check_part(self._layout.attention[place], sizes, block, (0,), place)
        for place in NORMS:
            name = self._norm_name(block, place)
            if name is not None and (place.endswith("attention") or mlp.kind != "none"):
                self._checked(f"{name}.weight", (stack.d_model,))
                if f"{name}.bias" in self.tensors:
                    self._checked(f"{name}.bias", (stack.d_model,))
        if attention.softmax.kind == "softmax" and attention.softmax.sink_logit is not None:
            self._checked(self._name(block, self._layout.null), (stack.n_heads,))
        if self.qk_gains(block)[0].size:
            per_head = attention.qk_norm == "head"
            for name, heads in (
                (self._layout.query_gain, stack.n_heads),
                (self._layout.key_gain, stack.n_kv_heads),
            ):
                size = stack.d_head * (1 if per_head else heads)
                self._checked(self._name(block, name), (size,))
        self._check_mlp(block, sizes)

    def _check_mlp(self, block: int, sizes: Sizes) -> None:
        mlp, layout = self.stack.mlp[block], self._layout
        places = {"none": (), "plain": ("up", "down"), "gated": ("up", "gate", "down")}[mlp.kind]
        if mlp.experts is None:
            for place in places:
                self._check_part(layout.mlp[place], sizes, block, (0,), place)
            return
        if mlp.experts.shared > 1 or (mlp.experts.shared and not layout.shared):
            raise RopeleakError(
                f"the weights of mlp.experts.shared={mlp.experts.shared} in this family are not"
                " read: measure the architecture on random weights instead"
            )
        self._check_part(layout.router, sizes, block, (0,), "router")
        for place in places:
            self._check_part(layout.experts[place], sizes, block, range(mlp.experts.count), place)
            if mlp.experts.shared:
                self._check_part(layout.shared[place], sizes, block, (0,), place)

    def _check_part(
        self, part: Part, sizes: Sizes, block: int, experts: "range | tuple[int, ...]", place: str
    ) -> None:
        shape = part.shape(sizes)
        for expert in experts[:1] if part.stacked else experts:
            name = self._name(block, part.name, expert)
            self._checked(name + part.weight, shape)
            if name + part.bias in self.tensors:
                length = sizes.d if place in ("output", "down") else part.span(sizes).total
                self._checked(name + part.bias, (*shape[: int(part.stacked)], length))

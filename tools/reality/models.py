"""Models of transformers and what goes on inside of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Inside(NamedTuple):
    """What a model does with contents.

    Attributes
    ----------
    states
        Residual stream after the embedding and every block (L+1, contents, T, d).
    attention
        Attention weights of every block (L, contents, H, T, T).
    """

    states: Array
    attention: Array


def build(config: Any, seed: int) -> Any:
    """Return a decoder without its output layer, its weights drawn as transformers draws them."""
    import torch
    import transformers

    torch.manual_seed(seed)
    auto: Any = transformers.AutoModel
    return auto.from_config(config, attn_implementation="eager").eval()


def look_inside(model: Any, tokens: Array) -> Inside:
    """Run token ids (contents, T) through a model."""
    import torch

    with torch.no_grad(), _after_every_block(model) as after:
        found = model(torch.from_numpy(np.ascontiguousarray(tokens)), output_attentions=True,
                      output_hidden_states=True, use_cache=False)  # fmt: skip
    states = [found.hidden_states[0], *after]
    return Inside(
        np.stack([state.numpy() for state in states]),
        np.stack([weights.numpy() for weights in found.attentions]),
    )


@contextmanager
def _after_every_block(model: Any) -> Iterator[list[Any]]:
    """Collect what every block returns: the last hidden state that models give is normalised."""
    found: list[Any] = []

    def keep(block: Any, given: Any, returned: Any) -> None:
        found.append(returned[0] if isinstance(returned, tuple) else returned)

    hooks = [block.register_forward_hook(keep) for block in model.layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()

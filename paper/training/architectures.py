"""The architectures: one decoder, and changes of it that predictions tell apart."""

from collections.abc import Mapping
from typing import Any

from ropeleak.spec import Stack

CONTEXT, WIDTH, HEADS, BLOCKS = 128, 64, 4, 4
SEEDS = (0, 1, 2)
BASELINE = "baseline"
FACTOR = 4.0
"""RoPE scalings reach the context from a quarter of it."""
NARROW, WIDE = 16, 32
"""Keys of the windows."""

Change = tuple[tuple[str, Any], ...]

SIGMOID: Change = (("attention.softmax.kind", "sigmoid"), ("attention.softmax.bias", -4.0))
"""No denominator, and no bias that knows how many keys there are: about ``-ln n`` half-way."""

CHANGES: Mapping[str, Change] = {
    BASELINE: (),
    "window 16": (("attention.window", NARROW),),
    "window 32": (("attention.window", WIDE),),
    "window 16, sink": (("attention.window", NARROW), ("attention.sinks", 1)),
    "window 16, full": (("attention", ({"window": NARROW}, {})),),
    "no RoPE": (("attention.rope", None),),
    "NTK": (("attention.rope", {"type": "ntk", "factor": FACTOR}),),
    "linear": (("attention.rope", {"type": "linear", "factor": FACTOR}),),
    "base 100": (("attention.rope.base", 100.0),),
    "base 1e6": (("attention.rope.base", 1e6),),
    "post-norm": (("norm.placement", "post"),),
    "QK-norm": (("attention.qk_norm", "head"),),
    "sink logits": (("attention.softmax.sink_logit", 0.0),),
    "off-by-one": (("attention.softmax.kind", "off-by-one"),),
    "sigmoid": SIGMOID,
    "log-n": (
        ("attention.softmax.length_scaling", "log-n"),
        ("attention.softmax.length_reference", CONTEXT // 2),
    ),
    "aligned": (("attention.alignment", 2.0),),
    "random BOS": (("bos", "random"),),
    "no BOS": (("bos", "absent"),),
    "zero BOS": (("bos", "zero"),),
    "sigmoid, random BOS": (*SIGMOID, ("bos", "random")),
    "2 blocks": (("n_blocks", 2),),
    "6 blocks": (("n_blocks", 6),),
    "init ×½": (("init.std", 0.5 * WIDTH**-0.5),),
    "init ×2": (("init.std", 2.0 * WIDTH**-0.5),),
}
"""Fields by their dotted paths, as in `Stack.set`."""


def baseline(vocab_size: int) -> Stack:
    """Return the decoder that the others are changes of: σ = γ = 1.

    ``vocab_size`` is how many tokens there are in effect: two are the same once in so many times.
    """
    return Stack.build(
        name=BASELINE, context=CONTEXT, d_model=WIDTH, n_heads=HEADS, n_blocks=BLOCKS,
        vocab_size=vocab_size, mlp={"d_ff": 2 * WIDTH},
        init={"std": WIDTH**-0.5, "embedding_var": 1.0},
    )  # fmt: skip


def architecture(name: str, vocab_size: int) -> Stack:
    """Return one of the stacks of `CHANGES`."""
    stack = baseline(vocab_size)
    for path, value in CHANGES[name]:
        stack = stack.set(path, value)
    return stack.replace(name=name)

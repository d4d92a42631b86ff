"""Stacks drawn at random over the variants, for theory and measurement to be compared on."""

from typing import Any

import numpy as np

from ropeleak.spec import Stack


def mixture(seed: int, width: int = 256) -> Stack:
    """Return a stack that mixes the variants, up to ``σ = 1.6``."""
    rng = np.random.default_rng(seed)

    def one_of(*options: Any) -> Any:
        return options[rng.integers(len(options))]

    heads = one_of(4, 8)
    attention: dict[str, Any] = {
        "softmax": one_of(
            {}, {}, {"kind": "off-by-one"}, {"sink_logit": 1.0, "sink_logit_std": 0.3},
            {"softcap": 5.0}, {"temperature": 1.3}, {"kind": "sigmoid"},
            {"length_scaling": "log-n", "length_reference": 48},
        ),
        "rope": one_of(
            {}, {}, None, {"fraction": 0.5}, {"type": "linear", "factor": 4},
            {"layout": "interleaved"}, {"type": "yarn", "factor": 4, "original_context": 32},
        ),
        "qk_norm": one_of("none", "none", "head", "projection", "l2"),
        **one_of({}, {}, {"window": 12}, {"window": 9, "sinks": 2}, {"chunk": 14},
                 {"mask": "ring"}, {"mask": "bidirectional"}),
    }  # fmt: skip
    placement = one_of("pre", "pre", "post", "res-post", "sandwich", "parallel", "none")
    gated = {"kind": "gated", "d_ff": 2 * width}
    mlp = one_of(
        {"kind": "none"}, gated, {"kind": "plain", "activation": "gelu", "d_ff": 2 * width},
        {**gated, "d_ff": width, "experts": {"count": 8, "active": 2}},
    )  # fmt: skip
    unbounded = placement == "none"  # the variance, and with it σ, grows from block to block
    return Stack.build(
        context=48, d_model=width, n_heads=heads, n_kv_heads=one_of(heads, heads // 2), n_blocks=3,
        attention=attention, mlp={"kind": "none"} if unbounded else mlp,
        norm={"kind": one_of("rms", "layer"), "placement": placement},
        bos={"kind": one_of("constant", "constant", "random")},
        alpha=one_of(0.0, 0.0, 0.1), vocab_size=one_of(None, None, 1000),
        init={
            "score_std": float(rng.uniform(0.2, 0.4 if unbounded else 1.6)),
            "attention_gain": float(rng.uniform(0.3, 1.5)),
            "mlp_gain": float(rng.uniform(0.3, 1.5)),
            "embedding_var": float(rng.uniform(0.3, 2.0)),
            "std": width**-0.5,
        },
    )  # fmt: skip

"""Every variant that a stack can describe: the kernels equal the plain NumPy reference."""

from collections import defaultdict
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from numpy.typing import DTypeLike

from ropeleak import Stack
from ropeleak.simulate.forward import Forward
from ropeleak.simulate.plan import Plan, make_plan
from ropeleak.spec._base import Spec
from tests.simulate.reference import run
from tools.agreement import mixture

BASE: dict[str, Any] = {
    "context": 21, "d_model": 24, "n_heads": 4, "d_head": 6, "n_kv_heads": 2, "n_blocks": 2,
    "mlp": {"kind": "none"},
    "init": {"score_std": 1.2, "attention_gain": 0.9, "embedding_var": 1.3, "mlp_gain": 0.7,
             "std": 0.2},
}  # fmt: skip
LATENT = {"kv_rank": 10, "q_rank": 8, "d_nope": 4, "d_rope": 6, "d_value": 5}
SCALED = {"factor": 4, "original_context": 16}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "long": {"context": 150},
    "whole vectors": {"context": 64},
    "one token": {"context": 1},
    "two tokens": {"context": 2},
    "five blocks": {"n_blocks": 5},
    "one head": {"n_heads": 1, "n_kv_heads": 1},
    "odd sizes": {"d_model": 23, "n_heads": 3, "n_kv_heads": 1, "d_head": 10, "context": 37},
    "many query heads": {"n_heads": 6, "n_kv_heads": 1},
    "window": {"context": 150, "attention": {"window": 40}},
    "window of one": {"attention": {"window": 1}},
    "window and sinks": {"context": 150, "attention": {"window": 20, "sinks": 3}},
    "window, many sinks": {"context": 150, "attention": {"window": 9, "sinks": 70}},
    "chunk": {"context": 150, "attention": {"chunk": 17}},
    "chunk across blocks": {"context": 200, "attention": {"chunk": 70}},
    "mixed masks": {"context": 90, "attention": [{"window": 8}, {}]},
    "prefix": {"context": 90, "attention": {"prefix": 25}},
    "prefix of all": {"attention": {"prefix": 30}},
    "bidirectional": {"context": 80, "attention": {"mask": "bidirectional"}},
    "ring": {"context": 80, "attention": {"mask": "ring"}},
    "off-by-one": {"attention": {"softmax": {"kind": "off-by-one"}}},
    "sigmoid": {"attention": {"softmax": {"kind": "sigmoid"}}},
    "sigmoid with bias": {"attention": {"softmax": {"kind": "sigmoid", "bias": -2.0}}},
    "sink logits": {"attention": {"softmax": {"sink_logit": 1.0, "sink_logit_std": 0.5}}},
    "soft cap": {"attention": {"softmax": {"softcap": 1.5, "temperature": 0.5}}},
    "temperature": {"attention": {"softmax": {"temperature": 2.0}}},
    "log-n": {"attention": {"softmax": {"length_scaling": "log-n", "length_reference": 8}}},
    "llama4 scaling": {
        "attention": {
            "softmax": {"length_scaling": "llama4", "length_reference": 4, "length_slope": 0.3}
        }
    },
    "capped log-n": {
        "attention": {"softmax": {"length_scaling": "log-n", "length_reference": 8, "softcap": 2.0}}
    },
    "scale": {"attention": {"scale": 0.2}, "init": {"scheme": "fan_in"}},
    **{
        f"{scheme} init": {"init": {"scheme": scheme, "std": 0.3}, "mlp": {"d_ff": 20}}
        for scheme in ("normal", "gpt2", "neox", "mup", "fan_in")
    },
    "norm of heads": {"attention": {"qk_norm": "head"}},
    "norm of projections": {"attention": {"qk_norm": "projection"}},
    "norm after rope": {"attention": {"qk_norm": "l2"}},
    "aligned": {"attention": {"alignment": 2.0}},
    "anti-aligned": {"attention": {"alignment": -1.0}},
    "tied": {"attention": {"alignment": 1.2 * 6**0.5}, "n_kv_heads": 4},
    "reads sinks": {"attention": {"sink_bias": 2.0, "sink_band": 0.6}},
    "reads a sink that is not there": {"attention": {"sink_bias": 2.0}, "bos": {"kind": "random"}},
    "reads sinks, partial rope": {
        "attention": {"sink_bias": 3.0, "sink_band": 0.9, "rope": {"fraction": 0.67}}
    },
    "reads sinks, interleaved, capped": {
        "attention": {
            "sink_bias": 3.0,
            "rope": {"layout": "interleaved"},
            "softmax": {"softcap": 2.0},
        }
    },
    "reads sinks, normed, yarn": {
        "attention": {
            "sink_bias": 2.0,
            "qk_norm": "head",
            "rope": {"type": "yarn", "fraction": 0.67, **SCALED},
        }
    },
    "reads sinks, norm of projections": {"attention": {"sink_bias": 2.0, "qk_norm": "projection"}},
    "reads sinks, norm after rope": {"attention": {"sink_bias": -2.0, "qk_norm": "l2"}},
    "reads sinks in some blocks": {
        "context": 90,
        "attention": [{"window": 8, "sinks": 1}, {"sink_bias": 2.0}],
    },
    "reads sinks in a ring": {"context": 80, "attention": {"mask": "ring", "sink_bias": 2.0}},
    "reads sinks, no rope": {"attention": {"sink_bias": 2.0, "rope": None}},
    "no rope": {"attention": {"rope": None}},
    "interleaved": {"attention": {"rope": {"layout": "interleaved"}}},
    "partial rope": {"attention": {"rope": {"fraction": 0.67}}},
    "proportional rope": {"attention": {"rope": {"type": "proportional", "fraction": 0.5}}},
    "linear rope": {"attention": {"rope": {"type": "linear", "factor": 3}}},
    "dynamic rope": {"attention": {"rope": {"type": "dynamic", **SCALED}}},
    "ntk rope": {"attention": {"rope": {"type": "ntk", "factor": 3}}},
    "yarn": {"attention": {"rope": {"type": "yarn", **SCALED}}},
    "yarn with its own numbers": {
        "attention": {
            "rope": {
                "type": "yarn",
                "base": 500.0,
                "attention_factor": 1.3,
                "beta_fast": 4.0,
                "beta_slow": 0.5,
                "truncate": False,
                "factor": 2,
                "max_context": 32,
            }
        }
    },
    "yarn with scales": {
        "attention": {"rope": {"type": "yarn", "mscale": 0.7, "mscale_all_dim": 0.4, **SCALED}}
    },
    "yarn, partial, normed": {
        "attention": {"rope": {"type": "yarn", "fraction": 0.67, **SCALED}, "qk_norm": "head"}
    },
    "longrope": {
        "attention": {
            "rope": {
                "type": "longrope",
                "short_factor": [1, 2, 3],
                "long_factor": [2, 4, 8],
                **SCALED,
            }
        }
    },
    "llama3 rope": {
        "attention": {
            "rope": {"type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4, **SCALED}
        }
    },
    "latent": {"attention": {"latent": LATENT}},
    "latent without query rank": {
        "attention": {
            "latent": {"kv_rank": 7, "q_rank": None, "d_nope": 3, "d_rope": 4, "d_value": 6}
        }
    },
    "layer norm": {"norm": {"kind": "layer"}},
    "post-norm": {"norm": {"placement": "post"}, "mlp": {"d_ff": 20}},
    "res-post": {"norm": {"placement": "res-post"}, "mlp": {"d_ff": 20}},
    "sandwich": {"norm": {"placement": "sandwich"}, "mlp": {"d_ff": 20}},
    "parallel": {"norm": {"placement": "parallel", "kind": "layer"}, "mlp": {"d_ff": 20}},
    "no norm": {"norm": {"placement": "none"}, "mlp": {"d_ff": 20}},
    "gated": {"mlp": {"kind": "gated", "d_ff": 21}},
    "gpt-oss": {"mlp": {"kind": "gated", "offset": 1.0, "activation_scale": 1.702, "d_ff": 20}},
    "clamped mlp": {"mlp": {"kind": "gated", "limit": 0.4, "d_ff": 20}},
    "wide mlp": {"mlp": {"kind": "gated", "d_ff": 300}},
    **{
        f"plain {name}": {"mlp": {"kind": "plain", "activation": name, "d_ff": 20}}
        for name in ("silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "tanh", "linear")
    },
    **{
        f"scaled {name}": {
            "mlp": {"kind": "plain", "activation": name, "activation_scale": 1.4, "d_ff": 20}
        }
        for name in ("gelu", "gelu_tanh", "quick_gelu", "tanh")
    },
    "plain experts": {
        "mlp": {
            "kind": "plain",
            "activation": "gelu",
            "d_ff": 300,
            "experts": {"count": 3, "active": 3},
        }
    },
    **{
        f"experts, {router}": {
            "mlp": {
                "d_ff": 16,
                "experts": {"count": 6, "active": 2, "shared": 1, "router": router, "scale": 1.5},
            }
        }
        for router in ("softmax", "softmax-all", "sigmoid", "sigmoid-input")
    },
    **{
        f"bos {kind}": {"bos": {"kind": kind}, "alpha": 0.2, "mlp": {"d_ff": 20}}
        for kind in ("constant", "other", "random", "absent", "zero", "mean")
    },
    "common embedding": {"alpha": 1.0},
    "few words": {"vocab_size": 7},
    "residual multiplier": {"residual_multiplier": 0.3, "embedding_multiplier": 2.0},
    "no eps": {"norm": {"eps": 0.0}, "bos": {"kind": "zero"}},
    "huge scores": {"init": {**BASE["init"], "score_std": 3000.0}},
    "tiny embedding": {"init": {**BASE["init"], "embedding_var": 1e-30}},
}


FREE = ("plain", "long", "reads sinks", "window", "prefix", "ring", "no norm", "post-norm")


def assert_equal(stack: Stack, plan: Plan) -> None:
    """Check that a draw equals the reference to 1e-5 in float32 and 1e-12 in float64.

    Scores are known to a share of their size, so weights of scores beyond 100 are known less well.
    """
    forward = Forward(plan, full=True)
    sample = forward.run(2)
    wanted = run(stack, plan, 2)
    variance = np.abs(wanted["K"]).max()
    pairs = (
        ("x", forward.x[:, :, : stack.context].transpose(0, 2, 1), np.abs(wanted["x"]).max()),
        *(
            (name, value, variance)
            for name, value in zip(("K", "Q", "Q_common"), sample.full, strict=True)
        ),
        ("log_z", sample.log_z, max(np.abs(wanted["log_z"]).max(), 1.0)),
        ("sink", sample.sink, 1.0),
        ("mean_score", sample.mean_score, max(np.sqrt(wanted["leak_size"].max()), 1.0)),
        ("first_score", sample.first_score, max(np.sqrt(wanted["leak_size"].max()), 1.0)),
        ("leak", sample.leak, max(wanted["leak_size"].max(), 1.0)),
        ("leak_chance", sample.leak_chance, max(wanted["leak_size"].max(), 1.0)),
        ("chance", sample.full_chance, variance),
    )
    tolerance = 1e-5 if plan.dtype == np.float32 else 1e-12
    tolerance *= max(stack.score_std(0) / 30, 1.0)
    for name, value, size in pairs:
        error = np.abs(value - wanted[name]).max() / size
        assert error < tolerance, f"{name} is off by {error:.2e} of {size:.2e}"
    for name, value in (("k_diag", "K"), ("q_diag", "Q"), ("q_common", "Q_common")):
        diagonal = np.einsum("dii->di", wanted[value])
        assert np.abs(getattr(sample, name) - diagonal).max() < tolerance * variance
        chance = np.einsum("dii->di", wanted["chance"][("K", "Q", "Q_common").index(value)])
        found = sample.state_chance[("K", "Q", "Q_common").index(value)]
        assert np.abs(found - chance).max() < tolerance * variance
    assert np.abs(sample.k_bos - wanted["K"][:, 0]).max() < tolerance * variance
    assert np.abs(sample.state_chance[3] - wanted["chance"][0, :, 0]).max() < tolerance * variance


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", VARIANTS)
def test_kernels_equal_the_reference(name: str, dtype: DTypeLike) -> None:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    assert_equal(stack, make_plan(stack, contents=3, seed=5, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FREE)
def test_parameter_free_kernels_equal_the_reference(name: str, dtype: DTypeLike) -> None:
    fields = {**BASE, **VARIANTS[name], "mlp": {"kind": "none"}, "n_kv_heads": 4}
    stack = Stack.build(**fields)
    assert_equal(stack, make_plan(stack, contents=3, seed=5, dtype=dtype, parameter_free=True))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(20))
def test_mixtures_equal_the_reference(seed: int, dtype: DTypeLike) -> None:
    stack = mixture(seed, width=32)
    assert_equal(stack, make_plan(stack, contents=4, seed=seed, dtype=dtype))


def choices(spec: Spec, tried: dict[type[Spec], dict[str, set[Any]]]) -> None:
    """Collect the values of every field of a description, and of what it holds."""
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        tried[type(spec)][name].add(value)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Spec):
                choices(part, tried)


def test_every_choice_of_the_description_is_tried() -> None:
    tried: dict[type[Spec], dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    for fields in VARIANTS.values():
        choices(Stack.build(**{**BASE, **fields}), tried)
    for spec, fields in tried.items():
        for name, values in fields.items():
            annotation = spec.model_fields[name].annotation
            if get_origin(annotation) is Literal:
                assert values == set(get_args(annotation)), (spec, name)
            elif name not in ("name", "approximations"):
                assert len(values) > 1, f"{spec.__name__}.{name} is {values} in every variant"

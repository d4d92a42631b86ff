"""Real configs, and what can be done to them."""

import copy
import json
from importlib import resources
from typing import Any

from hypothesis import strategies as st

from ropeleak import catalog

FOLDER = resources.files("ropeleak").joinpath("configs")
CONFIGS: dict[str, dict[str, Any]] = {
    name: json.loads(FOLDER.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    for name in catalog.names()
}


def nested(depth: int) -> list[Any]:
    """Return lists within lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


JUNK = st.one_of(
    st.sampled_from(
        [
            None, True, False, 0, -1, 1, 3, 7, 10**9, 10**400, -(10**400), 2**63, 10**5000,
            0.0, 0.5, -0.5, 1e-300, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
            "", "big", "1e9", "\n", "\ud800", "x" * 10_000, b"bytes", object(), {}, [], (),
            nested(500), {"a": {"b": {"c": 1}}}, [None], ["x"], [1, 2, 3], [float("nan")] * 64,
            {"type": "yarn"}, {"type": "longrope", "factor": -1}, {"rope_type": []},
            {"full_attention": None, "sliding_attention": {"factor": 1e308}},
            {"type": "llama3", "factor": 1e9, "low_freq_factor": 1, "high_freq_factor": 1},
            {"type": "dynamic", "factor": 1e9, "alpha": 1e9},
            {"type": "yarn", "factor": 1e-6, "beta_fast": 1e9, "beta_slow": 1e9},
            "gemma3_text", "deepseek_v3", "llama4", "phi3", "falcon", "gpt2", "unknown",
        ]
    ),
    st.integers(-10, 10**7),
    st.floats(),
    st.text(max_size=5),
)  # fmt: skip


def tables(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a config and the tables in it."""
    inner = [value for value in config.values() if isinstance(value, dict)]
    return [config, *(found for table in inner for found in tables(table))]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Return a published config with one to three of its keys dropped or filled with junk."""
    config = copy.deepcopy(CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))])
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(tables(config)))
        if not table:
            continue
        key = draw(st.sampled_from(sorted(table, key=str)))
        if draw(st.booleans()):
            del table[key]
        else:
            table[key] = copy.deepcopy(draw(JUNK))
    return config

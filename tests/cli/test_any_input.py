"""Whatever the config and the options are: a report, or one sentence and nothing written."""

import io
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ropeleak import Result
from ropeleak.cli import main
from ropeleak.spec.changes import field_paths
from tests.hf.mutations import CONFIGS, mutated

NO_DEADLINE = settings(
    deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow]
)
FEW_BLOCKS = 4
SMALL = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 256,
}  # fmt: skip


def shallow(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config of few blocks, so that predicting it is quick; lists per layer are cut."""
    short: dict[str, Any] = {}
    for key, value in config.items():
        if key in ("num_hidden_layers", "n_layer") and isinstance(value, int) and value > 0:
            short[key] = min(value, FEW_BLOCKS)
        elif key in ("layer_types", "no_rope_layers") and isinstance(value, list):
            short[key] = value[:FEW_BLOCKS]
        else:
            short[key] = shallow(value) if isinstance(value, dict) else value
    return short


def as_json(config: object) -> str:
    """Return a config as text; what JSON cannot say becomes a text."""
    try:
        return json.dumps(config, default=repr)
    except ValueError:  # an integer of more digits than Python writes
        return json.dumps({**SMALL, "vocab_size": 1}).replace(": 1}", f": 1{'0' * 5000}}}")


def report_or_refusal(text: str, options: Sequence[str] = ()) -> int:
    """Run a prediction of a config's text and check what it leaves behind; return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        config, saved = Path(folder, "config.json"), Path(folder, "a.nc")
        config.write_text(text, encoding="utf-8")
        arguments = ["predict", str(config), "--context", "6", "--out", str(saved), *options]
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
        left = sorted(os.listdir(folder))
        assert code in (0, 2), code
        if code == 0:
            assert left == ["a.nc", "config.json"]
            assert err.getvalue() == ""
            assert "At initialisation" in out.getvalue() or "too short" in out.getvalue()
            assert Result.load(saved).verdict()
        else:
            assert left == ["config.json"]
            assert out.getvalue() == ""
            assert err.getvalue().startswith("error: ")
            assert err.getvalue().count("\n") == 1
            assert err.getvalue().rstrip("\n").isprintable()
        return code


def test_the_configs_themselves_are_predicted() -> None:
    for name, config in CONFIGS.items():
        assert report_or_refusal(as_json(shallow(config))) == 0, name


@given(config=mutated())
@settings(NO_DEADLINE, max_examples=40)
def test_mutated_configs(config: dict[str, Any]) -> None:
    report_or_refusal(as_json(shallow(config)))


@given(
    path=st.one_of(st.sampled_from(field_paths()), st.text(max_size=12)),
    value=st.one_of(
        st.sampled_from(
            ["", "none", "true", "nan", "inf", "-1", "0", "1", "2", "3", "0.5", "1e308", "9" * 40,
             "random", "[1, 2]", "{}", '{"type": "linear", "factor": 8}', "[" * 500, "\n"]
        ),
        st.floats().map(str),
        st.text(max_size=5),
    ),
)  # fmt: skip
@settings(NO_DEADLINE, max_examples=60)
def test_any_change(path: str, value: str) -> None:
    report_or_refusal(as_json(SMALL), ["--set", f"{path}={value}"])

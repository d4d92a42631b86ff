"""``ropeleak measure --weights``: reports, files, stopping and going on, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from ropeleak import Result, Stack
from ropeleak.cli import main
from ropeleak.simulate.plan import make_plan
from tests.support.checkpoints import of_draw, save_sharded

CONFIG = {
    "model_type": "llama", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 20, "vocab_size": 260,
    "max_position_embeddings": 64, "initializer_range": 0.3, "bos_token_id": 256,
}  # fmt: skip
WEIGHTS = ["--weights", "tiny", "--context", "20"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a sharded checkpoint ``tiny`` with its config, and work beside it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    stack = Stack.from_hf(folder, context=65).set("bos", "random")
    arrays, _ = of_draw(stack, make_plan(stack, 4, 0), 0)
    arrays["model.embed_tokens.weight"] = arrays["model.embed_tokens.weight"][:260]
    save_sharded(folder, arrays)


def test_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", *WEIGHTS, "--out", "a.nc", "--plot", "a.png"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tiny: 2 blocks, context 20\n\nIn these weights, the softmax")
    assert "36 contents (random tokens), standard errors over 6 batches" in " ".join(out.split())
    assert "σ" not in out and "No model was given" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert Result.load("a.nc").dataset["head_sink"].shape == (2, 4, 20)
    assert Path("a.png").stat().st_size > 1000


def test_json_and_interventions(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("to be or not to be, that is the question. " * 20)
    arguments = ["measure", *WEIGHTS, "--json", "--contents", "a.txt"]
    assert main(arguments) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["method"] == "given-weights" and data["ruler"] is None
    assert main([*arguments, "--set", "bos=random"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["blocks"]["leak_mask"] != data["blocks"]["leak_mask"]
    assert main([*arguments, "--bos-token", "7"]) == 0
    assert json.loads(capsys.readouterr().out)["blocks"] != data["blocks"]


def test_a_checkpoint_is_taken_up(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["measure", *WEIGHTS, "--contents", "9", "--checkpoint", "c"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert Path("c").exists()
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


def test_stopping_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ropeleak.simulate import WeightsMeasurement

    def stop(self: WeightsMeasurement, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WeightsMeasurement, "run", stop)
    stopped = "Stopped after 0 of 2 blocks: "
    assert main(["measure", *WEIGHTS, "--checkpoint", "c"]) == 130
    assert f"{stopped}the same command goes on from c." in capsys.readouterr().err
    assert main(["measure", *WEIGHTS]) == 130
    assert f"{stopped}with --checkpoint FILE a stopped measurement" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "none"], "there is no file none"),
        (["--weights", "none/a.safetensors"], "there is no file"),
        (["--weights", "."], "there is no config.json beside the weights in"),
        (["--weights", "tiny", "llama-2-7b"], "architecture needs"),
        ([*WEIGHTS, "--draws", "3"], "draws=3 is for random weights"),
        ([*WEIGHTS, "--width", "3"], "width=3 is for random weights"),
        ([*WEIGHTS, "--contents", "none.txt"], "cannot read none.txt"),
        ([*WEIGHTS, "--contents", "1"], "contents=1 is not allowed"),
        ([*WEIGHTS, "--bos-token", "260"], "bos_token=260 is not in the vocabulary of 260"),
        ([*WEIGHTS, "--set", "n_blocks=1"], "holds block 1"),
        (["pythia-160m", "--contents", "a.txt"], "random weights know no tokens"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1 and words in captured.err


def test_a_file_cut_short_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    shard = Path("tiny/model-00002-of-00003.safetensors")
    shard.write_bytes(shard.read_bytes()[:-7])
    assert main(["measure", *WEIGHTS]) == 2
    error = capsys.readouterr().err
    assert "model-00002-of-00003.safetensors ends after" in error and error.count("\n") == 1


def test_numbers_that_leave_the_range_are_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path("tiny/model-00001-of-00003.safetensors")
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(bytes(data))
    assert main(["measure", *WEIGHTS]) == 2
    assert "leave the range of float32" in capsys.readouterr().err

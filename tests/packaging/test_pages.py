"""README and docs: their code runs, their outputs are up to date, their links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import ropeleak
import ropeleak.check
from ropeleak.cli import main
from tools.pages import BLOCK, README, ROOT, Run, pages, rendered

TEXT = README.read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.(?P<decimals>\d+))?(?:e(?P<exponent>[+-]?\d+))?")


def step(number: re.Match[str]) -> float:
    """Return one unit of the last digit that a number shows."""
    return float(10.0 ** (int(number["exponent"] or 0) - len(number["decimals"] or "")))


def differ(old: str, new: str) -> bool:
    """Whether two words say different things: their numbers differ by more than their last digit.

    Another processor may round the last digit otherwise.
    """
    if NUMBER.sub("#", old) != NUMBER.sub("#", new):
        return True
    return any(
        abs(float(a[0]) - float(b[0])) > 1.01 * max(step(a), step(b))
        for a, b in zip(NUMBER.finditer(old), NUMBER.finditer(new), strict=True)
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.52", "0.53", False), ("0.52", "0.54", True), ("0.011", "0.01", False),
        ("3.2e-07", "3.3e-07", False), ("3.2e-07", "3.4e-07", True), ("1.2e-05", "1.2e-06", True),
        ("42%", "43%.", True), ("llama-3.1-8b:", "llama-3.1-8b:", False), ("mask", "total", True),
    ],
)  # fmt: skip
def test_words_are_compared_by_their_numbers(old: str, new: str, expected: bool) -> None:
    assert differ(old, new) is expected


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_outputs_are_up_to_date(page: Path, tmp_path: Path) -> None:
    old, new = page.read_text(encoding="utf-8").split(), rendered(page, tmp_path).split()
    assert len(old) == len(new), "run make pages"
    changed = [pair for pair in zip(old, new, strict=True) if differ(*pair)]
    assert not changed, "run make pages"
    for figure in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        folder = tmp_path if (tmp_path / figure).exists() else page.parent
        assert (folder / figure).stat().st_size, figure


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_every_output_was_found(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    marks = [found["what"] for found in BLOCK.finditer(text)]
    assert marks.count("output") == text.count("<!-- output:") == text.count("```text")
    assert marks.count("file") == text.count("<!-- file:")


def test_blocks_of_a_page_run_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    outputs = ("python", "sh", "ropeleak models --help")
    page.write_text(
        "<!-- file: my_module.py -->\n```python\nthree = 3\n```\n"
        "```python\nfrom my_module import three\nprint(three)\n```\n"
        "```python\nprint(three + 1)\n```\n"
        "```sh\npip install ropeleak\nropeleak models --help # a remark\n```\n"
        + "".join(f"<!-- output: {source} -->\n```text\nold\n```\n" for source in outputs)
    )
    new = rendered(page, tmp_path)
    assert "```text\n4\n```" in new
    assert new.count("Usage: ropeleak models") == 2
    assert "old" not in new
    assert "my_module" not in sys.modules


def test_a_command_that_does_not_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = BLOCK.search("```sh\nropeleak predict no-such-model\n```")
    assert found is not None
    with pytest.raises(SystemExit, match=r"page.md: ropeleak predict no-such-model does not run"):
        Run("page.md").again(found)
    assert "no-such-model" in capsys.readouterr().err


def code() -> list[str]:
    """Return what stands between backticks in the running text and the tables."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.S))


def commands() -> list[str]:
    """Return the commands within the README's text; an option alone is one of ``predict``."""
    full = [line for line in code() if line.startswith("ropeleak ")]
    options = [line for line in code() if line.startswith("--")]
    return [*full, *(f"ropeleak predict pythia-160m {option}" for option in options)]


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder to work in, with the config and the module that the README names."""
    config = tmp_path / "path" / "to" / "config.json"
    config.parent.mkdir(parents=True)
    bundled = resources.files("ropeleak").joinpath("configs", "pythia-160m.json")
    config.write_text(bundled.read_text(encoding="utf-8"))
    (block,) = re.findall(r"```python\n([^`]*?\ndef rope.*?)```", TEXT, flags=re.S)
    (tmp_path / "my_rope.py").write_text(block)
    monkeypatch.delitem(sys.modules, "my_rope", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", commands())
def test_commands_run(command: str, away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(command)[1:]
    if arguments[0] == "check":
        arguments += ["--examples", "5"]
    if arguments[0] in ("measure", "compare"):
        arguments += ["--draws", "2", "--set", "n_blocks=2"]
    if arguments[0] == "predict" and "--context" not in arguments:
        arguments += ["--context", "32"]
    assert main(arguments) == 0, capsys.readouterr().err
    for name in (word for word in arguments if word.startswith("leak.")):
        assert (away / name).stat().st_size > 0


@pytest.mark.usefixtures("away")
def test_python_in_the_table_runs() -> None:
    names = {
        "ropeleak": ropeleak, "Stack": ropeleak.Stack, "predict": ropeleak.predict,
        "stack": ropeleak.Stack.build(context=128),
        "result": ropeleak.predict(ropeleak.Stack.build(context=128, n_blocks=1)),
    }  # fmt: skip
    expressions = [
        text for text in code() if re.match(r"(predict|stack|result|ropeleak)[.(]", text)
    ]
    assert len(expressions) > 5
    for expression in expressions:
        assert eval(expression, dict(names)) is not None, expression
    for keyword in (text for text in code() if text.startswith("context=")):
        assert eval(f"stack.replace({keyword})", dict(names)) is not None


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"\bmake ([a-z]+)\b(?=`|\n| +#)", (ROOT / page).read_text("utf-8")))
    assert targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, target


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *(ROOT / "paper").glob("*.md"), *pages()[1:]],
    ids=lambda p: p.name,
)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_python_version_is_that_of_the_package() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r'requires-python = ">=(.*)"', settings)
    assert required is not None
    assert f"Python {required[1]} or newer" in TEXT

"""The documentation: nothing public is missing from it, and its helpers do what they say."""

import re
import runpy
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

import ropeleak
import ropeleak.check
from ropeleak.theory.theorems import TABLE, load
from tools.docs import FAMILIES, SOURCE, theorems

REFERENCE = "\n".join(
    page.read_text(encoding="utf-8") for page in sorted((SOURCE / "api").glob("*.md"))
)
LISTED = set(re.findall(r"auto(?:function|class|exception|module):: (?:[\w.]+\.)?(\w+)$", REFERENCE,
                        flags=re.M))  # fmt: skip


def public(module: Any) -> list[str]:
    return [name for name in dir(module) if re.match(r"(check|assert)_|[A-Z]", name)]


@pytest.mark.parametrize("name", [*public(ropeleak), "predict", "measure", *public(ropeleak.check)])
def test_everything_public_is_in_the_reference(name: str) -> None:
    assert name in LISTED


def test_every_theorem_is_stated() -> None:
    page = theorems()
    for row in TABLE.values():
        assert row.family in FAMILIES
        assert f"### {load(row.name).title}\n" in page
    assert page.count("$$") == 2 * len(TABLE)
    assert page.replace("$$", "").count("$") % 2 == 0


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    pytest.importorskip("sphinx", reason="Sphinx is not installed")
    return runpy.run_path(str(SOURCE / "conf.py"))


def test_types_are_short(conf: dict[str, Any]) -> None:
    kinds = {
        "int | None": Annotated[int, Field(ge=1)] | None,
        "tuple[Report, ...]": tuple[ropeleak.check.Report, ...],
        "Callable[[NDArray[float64]], Stack]": Callable[[NDArray[np.float64]], ropeleak.Stack],
        "ArrayLike": ArrayLike,
    }
    for short, kind in kinds.items():
        assert conf["shortened"](conf["stringify_annotation"](kind, "smart")) == short


def test_fields_of_specs_are_tabled(conf: dict[str, Any]) -> None:
    lines: list[str] = []
    conf["with_fields"](None, "class", "Stack", ropeleak.Stack, None, lines)
    text = "\n".join(lines)
    assert "* - ``attention``\n     - ``tuple[Attention, ...]``\n     - ``(Attention(),)``" in text
    assert text.count("* - ") == 1 + len(ropeleak.Stack.model_fields)

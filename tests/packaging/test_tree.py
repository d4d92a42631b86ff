"""The tree fits together: packages, links, layers, versions, locked dependencies."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINKED = ("figures", "simulate", "theory")
SOURCES = ("ropeleak", *LINKED)


def test_every_package_is_in_the_wheel() -> None:
    listed = set(SETTINGS["tool"]["setuptools"]["packages"])
    found = set()
    for top in SOURCES:
        for file in (ROOT / top).rglob("__init__.py"):
            parts = file.parent.relative_to(ROOT).parts
            found.add(".".join(parts if top == "ropeleak" else ("ropeleak", *parts)))
    assert found == listed


@pytest.mark.parametrize("name", LINKED)
def test_top_level_folders_are_linked_into_the_package(name: str) -> None:
    link = ROOT / "ropeleak" / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name
    assert SETTINGS["tool"]["setuptools"]["package-dir"][f"ropeleak.{name}"] == name


def test_no_file_imports_a_second_copy() -> None:
    wrong = []
    for top in (*SOURCES, "benchmarks", "tests", "tools"):
        for file in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names: list[str | None] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module]
                wrong += [(file, name) for name in names if str(name).split(".")[0] in LINKED]
    assert wrong == []


def test_versions_agree() -> None:
    version = SETTINGS["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changes or f"## [{version}]" in changes


def test_the_lock_satisfies_the_bounds() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\n]+)", lock, flags=re.M):
        pins.setdefault(canonicalize_name(name), []).append(version)
    project = SETTINGS["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for line in wanted:
        requirement = Requirement(line)
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{line}: run make lock"
        assert all(map(requirement.specifier.contains, versions)), f"{line}: run make lock"

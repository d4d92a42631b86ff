"""The examples in docstrings do what they show."""

import doctest
import importlib
import pkgutil

import pytest

import ropeleak

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ropeleak.__path__, "ropeleak.")
    if not module.name.endswith("__main__")
)


def test_all_packages_were_walked() -> None:
    tops = {name.split(".")[1] for name in MODULES}
    assert {"claims", "cli", "figures", "hf", "simulate", "spec", "theory"} <= tops


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0

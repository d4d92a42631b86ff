"""The formulas that the numbers use: those of the theorems, and no SymPy to run them."""

import subprocess
import sys
from types import ModuleType

import pytest

from tools import closed_forms, integrands, rounding


@pytest.mark.parametrize("tool", [integrands, closed_forms, rounding])
def test_the_file_is_what_the_theorems_say(tool: ModuleType) -> None:
    assert tool.TARGET.read_text(encoding="utf-8") == tool.rendered(), "run make formulas"


def test_predicting_loads_no_sympy() -> None:
    code = (
        "import sys, ropeleak\n"
        "ropeleak.predict(ropeleak.Stack.build(context=16, n_blocks=1))\n"
        "assert 'sympy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""The formulas that the numbers use: those of the theorems, and no SymPy to run them."""

import subprocess
import sys

import pytest

from tools.formulas import FILES
from tools.formulas.printing import File


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_file_is_what_the_theorems_say(file: File) -> None:
    assert file.path.read_text(encoding="utf-8") == file.rendered(), "run make formulas"


def test_predicting_loads_no_sympy() -> None:
    code = (
        "import sys, ropeleak\n"
        "ropeleak.predict(ropeleak.Stack.build(context=16, n_blocks=1))\n"
        "assert 'sympy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

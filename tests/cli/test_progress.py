"""How far a prediction is: on standard error, and only where that is a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "ropeleak", "predict", "pythia-160m", "--context", "8", "--json"]


def test_a_terminal_shows_the_blocks_done(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    with open(tmp_path / "out", "w") as out:
        process = subprocess.Popen(COMMAND, stdout=out, stderr=terminal, env=environment)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(controller)
    assert process.wait() == 0
    assert b"predicting pythia-160m at context 8" in shown
    assert b"12 of 12 blocks" in shown
    text = (tmp_path / "out").read_text()
    assert text.startswith("{") and "predicting" not in text


def test_a_file_or_a_pipe_shows_nothing() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    assert done.stderr == ""

"""What needs PyTorch is tried where it is installed; the committed results need none of it."""

from importlib.util import find_spec

if not (find_spec("torch") and find_spec("safetensors")):
    collect_ignore = ["test_decoder.py", "test_measuring.py", "test_trainer.py"]

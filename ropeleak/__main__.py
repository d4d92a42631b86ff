"""``python -m ropeleak``."""

import sys

from ropeleak.cli import main

if __name__ == "__main__":
    sys.exit(main())

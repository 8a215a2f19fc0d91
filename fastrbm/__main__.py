"""`python -m fastrbm ...`: the command line (see fastrbm.cli)."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m lvlmsal` is `lvlmsal`."""

import sys

from lvlmsal.cli import main

if __name__ == "__main__":
    sys.exit(main())

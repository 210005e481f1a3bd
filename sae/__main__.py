"""`python -m sae`."""

import sys

from sae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

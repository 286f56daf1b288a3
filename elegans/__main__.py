"""``python -m elegans`` is the command ``elegans``."""

import sys

from elegans.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m realizar_lambda` is the command line."""

from __future__ import annotations

import sys

from realizar_lambda.cli import main

if __name__ == "__main__":
    sys.exit(main())

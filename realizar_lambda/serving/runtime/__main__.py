"""`python -m realizar_lambda.serving.runtime HANDLER`."""

from __future__ import annotations

from realizar_lambda.serving.runtime import run

if __name__ == "__main__":
    run()

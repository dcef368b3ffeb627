"""The runtime loop of an image: Lambda's Runtime API over a socket, instead of `awslambdaric`. It knows no handler.

    python3 -S -c "from realizar_lambda.serving.runtime import run; run()" handlers.predict.handler

`awslambdaric` takes longer to start than a handler of ours; it imports `re`, `logging`, `decimal` and more for what one
HTTP connection needs none of. This loop does what it does, and it streams. Handlers run under both.

`-S` leaves the packages of the interpreter's own folder for later: they are found when a module is asked for that is
not in the task's folder (`late_site`). `-c` and not `-m`, which would import `runpy` first.

Where AWS_LAMBDA_MAX_CONCURRENCY is set (Lambda Managed Instances: one process per slot) `awslambdaric` takes over.
"""

from __future__ import annotations

import os
import sys


def run() -> None:
    """Serve the handler that the command line or _HANDLER names; returns never."""
    import gc

    gc.disable()  # an init makes thousands of objects and no garbage
    if sys.flags.no_site:
        from realizar_lambda.serving.runtime.late_site import install

        install()
    handler = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("_HANDLER", "")
    if os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY"):
        gc.enable()
        _hand_over(handler)
    from realizar_lambda.serving.runtime.loop import Loop

    loop = Loop(os.environ)
    found = loop.initialise(handler)
    gc.enable()
    loop.serve(found)


def _hand_over(handler: str) -> None:
    from awslambdaric.__main__ import main

    main([sys.argv[0], handler])
    sys.exit(0)

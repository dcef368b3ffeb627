"""A Lambda execution environment on this machine, for tests, benchmarks and the demo; it knows no handler.

Two emulators with one interface:

    lambda_emulator.function.Function     our own Runtime API, timed with the monotonic clock
    lambda_emulator.interface_emulator.InterfaceEmulatorFunction
                                          the vendor's Runtime Interface Emulator, a binary inside aws-sam-cli

Both are context managers with `.invoke(event)`, `.cold_start`, `.peak_memory()` and `.logs()`; both start
the runtime process on the first invocation, as Lambda does. Nothing here is part of the served package.
"""

"""The kernels, in Python, and their ahead-of-time build: the one room that imports numba. Never on the serving path."""

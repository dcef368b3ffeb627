"""Benchmarks: fresh processes, interleaved peers, raw results stored, tables generated from them.

python -m bench.cold_start        cold starts of our handler, an empty one and the peers
python -m bench.predict_latency   one prediction and a batch of 32, against the peers, one thread each
python -m bench.memory            the handler's memory, at its peak and over 100,000 predictions
python -m bench.tables            the tables of README and docs, from bench/results
python -m bench.plots             docs/plots, from bench/results
"""

# Everything a developer or the CI calls. A bare `make` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNEL_SOURCES := $(shell find realizar_lambda/kernels -name '*.py') realizar_lambda/ops.py realizar_lambda/blocks.py

.DEFAULT_GOAL := help
.PHONY: help setup kernels kernels-arm64 demo test test-slow test-container test-peers test-arm64 arm64-python lint format bench bench-llm tables clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || \
		{ echo "error: a C compiler is needed to link the kernels; on Debian: apt-get install gcc"; exit 1; }
	@echo "setting up $(VENV) (a minute or two) ..."
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "error: venv failed; on Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip 'setuptools>=77' wheel
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[build,dev]'
	@touch $@

$(VENV)/.rie: $(VENV)/.installed
	@# Only the emulator binary inside the package is wanted, so none of its dependencies.
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/rie 'aws-sam-cli>=1.130,<2' || \
		echo "no aws-sam-cli to be had: the demo uses the project's own Runtime API emulator"
	@touch $@

# The whole of aws-sam-cli, in an environment of its own, where the system has none.
SAM_VENV := $(VENV)/sam
SAM_BIN := $(or $(patsubst %/,%,$(dir $(shell command -v sam))),$(SAM_VENV)/bin)
SAM_INSTALLED := $(if $(filter $(SAM_VENV)/bin,$(SAM_BIN)),$(SAM_VENV)/.installed)

$(SAM_VENV)/.installed: | $(VENV)/.installed
	@echo "setting up $(SAM_VENV) with aws-sam-cli (a minute) ..."
	@$(BIN)/python -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/pip install --quiet --disable-pip-version-check 'aws-sam-cli>=1.130,<2'
	@touch $@

realizar_lambda/_native/build.json: $(KERNEL_SOURCES) | $(VENV)/.installed
	@$(BIN)/python -m realizar_lambda.kernels.build
	@touch $@

setup: $(VENV)/.installed ## make the virtual environment with everything a developer needs

kernels: realizar_lambda/_native/build.json ## compile the kernel libraries

kernels-arm64: kernels ## compile the kernel library for arm64 too; needs its cross compiler
	@$(BIN)/python -m realizar_lambda.kernels.build --target aarch64

demo: kernels $(VENV)/.rie ## send real digits to the real handler, and time its cold start
	@PYTHONPATH="$$PYTHONPATH:$(VENV)/rie" $(BIN)/python -m demo

test: kernels ## run the default test suite
	@$(BIN)/python -m pytest -q -n auto -m "not slow and not container and not peers and not qemu"

test-slow: kernels ## run the tests that take minutes
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m slow

test-peers: kernels ## run the tests against peers; needs the bench extra
	@$(BIN)/python -m pytest -q -m peers

test-container: kernels $(SAM_INSTALLED) ## run the tests that need a Docker engine
	@PATH="$(abspath $(SAM_BIN)):$$PATH" $(BIN)/python -m pytest -q -m container

# What an arm64 CPython runs here by itself: every kernel, model family, tokenizer and sampler against the oracles.
ARM64_PYTHON ?= $(abspath $(VENV)/arm64/python)
ARM64_TESTS ?= tests/kernels tests/architectures tests/sampling tests/tokenizers tests/generation tests/models \
	tests/test_native.py tests/test_team.py tests/test_program.py tests/test_session.py tests/test_language_model.py tests/test_classification.py

arm64-python: $(VENV)/.installed ## fetch an arm64 Python that qemu-user runs, for test-arm64
	@tools/arm64_python.sh $(VENV)/arm64 "$(BIN)/python -m pip"

test-arm64: kernels-arm64 ## run the tests of other CPUs under qemu-user: arm64, AVX2 alone, and older ones
	@command -v qemu-aarch64 >/dev/null || { echo "error: no qemu-aarch64; on Debian: apt-get install qemu-user"; exit 1; }
	@test -x "$(ARM64_PYTHON)" || { echo "error: no $(ARM64_PYTHON); make arm64-python fetches it"; exit 1; }
	@REALIZAR_ARM64_PYTHON=$(ARM64_PYTHON) $(BIN)/python -m pytest -q -m qemu
	@$(ARM64_PYTHON) -m pytest -q -p no:cacheprovider -m "not slow and not container and not peers and not qemu" \
		$(ARM64_TESTS)

lint: $(VENV)/.installed ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/python -m bench.tables --check
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed ## mend what style can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The benchmarks need a second interpreter with the peers: make bench PEER_PYTHON=path/to/python
PEER_PYTHON ?= $(BIN)/python

bench: kernels ## measure cold starts, latency and memory; PEER_PYTHON=... has the peers
	@$(BIN)/python -m bench.cold_start --peer-python $(PEER_PYTHON)
	@$(BIN)/python -m bench.predict_latency --peer-python $(PEER_PYTHON)
	@$(BIN)/python -m bench.memory
	@$(BIN)/python -m bench.tables

bench-llm: kernels ## measure tokens per second beside llama.cpp; PEER_PYTHON=... has llama_cpp
	@$(BIN)/python -m bench.llm --peer-python $(PEER_PYTHON)
	@$(BIN)/python -m bench.tables

tables: kernels ## write the tables of README and docs from the stored results
	@$(BIN)/python -m bench.tables

include packaging/lambda.mk

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f realizar_lambda/_native/*.so realizar_lambda/_native/build.json

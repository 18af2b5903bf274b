# Works on a fresh machine: every target that needs .venv makes it first, and installs nothing the second time.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow check lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sed 's/^/make /'

setup:  ## make .venv and install what requirements.lock says into it
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); install Python 3.11 or 3.12 (apt install python3 python3-venv)." >&2; exit 2; }
	@$(PYTHON) scripts/environment.py

demo: setup  ## name a feature of the embedded dictionary: no key, no GPU, no download
	@$(BIN)/python -m namesae.demo

test: setup  ## every test not marked slow, gpu or live; at most 10 minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: setup  ## the slow tests; at most 30 minutes
	$(BIN)/python -m pytest -m "slow and not timed and not gpu and not live" --timeout 1500 \
	    -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m "slow and timed and not gpu and not live" --timeout 1500

check: setup  ## ruff, mypy --strict, import directions, package names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_names.py

lock: setup  ## resolve pyproject.toml into requirements.lock, moving only what must move
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	    --no-header --no-annotate --quiet --output-file requirements.lock

clean:  ## remove caches and build products; .venv and your data stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

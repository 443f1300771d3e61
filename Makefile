# `make demo` and `make test` install what they need into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check format bench

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv: about 1.6 GB with torch, a minute or two on a fast connection."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[offline,bm25s,dev]"
	@touch $@

demo: install
	$(BIN)/late-rerank demo

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/cached_rerank.py

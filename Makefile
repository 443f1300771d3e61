# `make demo` and `make test` install what they need into .venv first.
PYTHON ?= python3
BIN := .venv/bin

WRAPPERS := integrations/langchain integrations/llama-index integrations/haystack
# Without the options of the other tests.
NBMAKE = HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -o addopts= -o filterwarnings= -o pythonpath= --nbmake --nbmake-timeout=900

.PHONY: install demo test check format bench sanitize crash oldest notebooks

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt $(WRAPPERS:%=%/pyproject.toml)
	@echo "Installing into .venv: about 2 GB with torch, a minute or two on a fast connection."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[offline,bm25s,redis,server,mcp,openvino,onnx,plot,train,bench,dev]" $(WRAPPERS:%=-e "%[test]")
	@touch $@

demo: install
	$(BIN)/late-rerank demo

test: install
	$(BIN)/python -m pytest
	for wrapper in $(WRAPPERS); do (cd $$wrapper && $(CURDIR)/$(BIN)/python -m pytest) || exit 1; done
	$(NBMAKE) notebooks

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	for wrapper in $(WRAPPERS); do (cd $$wrapper && $(CURDIR)/$(BIN)/mypy) || exit 1; done
	$(BIN)/lint-imports --no-logo

# Runs the notebooks anew and writes what they show, from the .py beside each.
notebooks: install
	$(BIN)/jupytext --sync notebooks/*.py
	$(NBMAKE) --overwrite notebooks

# The wrappers and the server with the oldest versions of their frameworks that they say they take, in an environment of its own.
# Without filterwarnings: old versions use what is deprecated since.
oldest:
	$(PYTHON) -m venv .venv-oldest
	grep -Ev '^(haystack|lang|llama-index|prometheus_client|starlette|uvicorn)' constraints.txt >.venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt \
		-c .venv-oldest/constraints.txt -e ".[offline,server]" httpx $(WRAPPERS:%=-e "%[test]")
	for wrapper in $(WRAPPERS); do (cd $$wrapper && $(CURDIR)/.venv-oldest/bin/python -m pytest) || exit 1; done
	.venv-oldest/bin/python -m pytest -o filterwarnings= tests/end_to_end/test_serve.py tests/end_to_end/test_serve_connections.py \
		tests/end_to_end/test_serve_processes.py::TestSeveralWorkers

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/late-rerank bench --json

# Kills writers of a DiskStore some 1,200 times; about ten minutes. `make test` does a few rounds.
crash: install
	$(BIN)/python tests/end_to_end/crash.py --rounds 200

# The kernel's tests with AddressSanitizer and UndefinedBehaviorSanitizer, in an environment of their own. Without detect_leaks=0
# Python's own memory counts as leaked; with captured output (no -s) a report would be lost.
sanitize:
	$(PYTHON) -m venv .venv-sanitize
	.venv-sanitize/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt numpy regex tqdm pytest hypothesis
	.venv-sanitize/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps . \
		-C build-dir=build/sanitize -C cmake.build-type=RelWithDebInfo -C cmake.define.LATE_RERANK_SANITIZE=ON
	nm -D .venv-sanitize/lib/python*/site-packages/late_rerank/maxsim/_native*.so | grep -q __asan # else it fell back to NumPy
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONMALLOC=malloc \
	.venv-sanitize/bin/pytest -q -s tests/conformance/test_native_kernel.py tests/conformance/test_codecs.py

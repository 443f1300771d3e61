# Targets install what they need into .venv first. tests/README.md says what each of them runs.
PYTHON ?= python3
BIN := .venv/bin

WRAPPERS := integrations/langchain integrations/llama-index integrations/haystack integrations/lancedb
WRAPPER_TESTS := $(WRAPPERS:%=test-%)
WEIGHTS := weights/minilm
# The wheel with the built-in model's weights, made here, since an index has it after a release only.
WHEELS := build/wheels
WEIGHTS_WHEEL := $(WHEELS)/built
# No test may reach for a hub.
PYTEST = HF_HUB_OFFLINE=1 $(CURDIR)/$(BIN)/python -m pytest
# pip would compile 2 GB of modules, most of which nobody imports; Python compiles the others when it imports them.
QUIETLY := --quiet --disable-pip-version-check --no-compile
INSTALL := -m pip install $(QUIETLY) --find-links $(WHEELS)
# Two files at a time; each file stays with one process, and shares its servers and models. build/ keeps what each test cost.
WORKERS ?= 2
BY_FILE = -q -n $(WORKERS) --dist loadfile --junit-xml=build/$@.xml
# Without the options of the other tests.
NBMAKE = $(PYTEST) -q -o addopts= -o filterwarnings= -o pythonpath= --nbmake --nbmake-timeout=1800
# Parts that don't disturb one another. Each part's output is printed whole when it ends; one that fails stops no other.
SIDE_BY_SIDE = $(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target

.PHONY: version wheels install demo quick test test-all test-package test-wrappers test-notebooks check format docs hooks bench sanitize crash oldest light notebooks $(WRAPPER_TESTS)

install: .venv/installed

wheels: $(WEIGHTS_WHEEL)

# In an environment of its own: the others are made with it. Targets that run side by side share it.
$(WEIGHTS_WHEEL): $(addprefix $(WEIGHTS)/,pyproject.toml hatch_build.py README.md LICENSE late_rerank_minilm/__init__.py)
	rm -rf $(WHEELS)
	$(PYTHON) -m venv build/wheels-venv
	build/wheels-venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w $(WHEELS) ./$(WEIGHTS)
	@touch $@

.venv/installed: pyproject.toml constraints.txt $(WEIGHTS_WHEEL) $(WRAPPERS:%=%/pyproject.toml)
	@echo "Installing into .venv: about 3 GB with torch, a minute or two on a fast connection."
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) -c constraints.txt \
		-e ".[offline,torch,eval,pooling,bm25s,pdf,visual,redis,postgres,remote,parquet,ray,dask,server,mcp,openvino,onnx,plot,train,bench,dev]" $(WRAPPERS:%=-e "%[test]")
	@touch $@

demo: install
	$(BIN)/late-rerank demo

# While you work: nothing that loads the real model or starts a process.
quick: install
	$(PYTEST) $(BY_FILE) -m "not (model or process or redis or browser or slow)" tests/unit tests/golden tests/conformance

# Before you commit: all but what is slow by design.
test: install
	$(PYTEST) $(BY_FILE) -m "not slow"
	$(SIDE_BY_SIDE) test-wrappers

# All that there is.
test-all: install
	$(MAKE) --no-print-directory test-package
	$(SIDE_BY_SIDE) test-notebooks test-wrappers

test-package: install
	$(PYTEST) $(BY_FILE) --durations=30

test-wrappers: $(WRAPPER_TESTS)

$(WRAPPER_TESTS): test-%: install
	cd $* && $(PYTEST) -q

test-notebooks: install
	$(NBMAKE) -n $(WORKERS) --maxschedchunk=1 --durations=0 $(shell ls -r notebooks/*.ipynb) # the last one trains

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
oldest: $(WEIGHTS_WHEEL)
	$(PYTHON) -m venv .venv-oldest
	grep -Ev '^(haystack|lancedb|lang|llama-index|prometheus_client|starlette|uvicorn)' constraints.txt >.venv-oldest/constraints.txt
	.venv-oldest/bin/python $(INSTALL) -c constraints-oldest.txt -C "build-dir=build/oldest/{wheel_tag}" \
		-c .venv-oldest/constraints.txt -e ".[offline,torch,server]" httpx $(WRAPPERS:%=-e "%[test]")
	for wrapper in $(WRAPPERS); do (cd $$wrapper && $(CURDIR)/.venv-oldest/bin/python -m pytest) || exit 1; done
	.venv-oldest/bin/python -m pytest -o filterwarnings= tests/end_to_end/test_serve.py tests/end_to_end/test_serve_connections.py \
		tests/end_to_end/test_serve_processes.py::TestSeveralWorkers

# The base package with the built-in model, as users install it: its size, and that no torch comes with it. Then its tests, with the
# server and the wrappers. `pytest` and not `python -m pytest`, which would import the checkout instead of what pip installed.
light: $(WEIGHTS_WHEEL)
	$(PYTHON) -m venv --clear .venv-light
	.venv-light/bin/python $(INSTALL) -c constraints.txt -C "build-dir=build/light/{wheel_tag}" ".[offline]"
	.venv-light/bin/python tests/end_to_end/light.py
	.venv-light/bin/python $(INSTALL) -c constraints.txt "late-rerank[server,mcp]" pytest httpx $(WRAPPERS:%=./%)
	@! .venv-light/bin/python -c "import torch" 2>/dev/null || { echo "a wrapper or the server brings torch" >&2; exit 1; }
	HF_HUB_OFFLINE=1 .venv-light/bin/pytest -q --confcutdir=tests/light tests/light

# Writes what pages show from scripts: tables of figures, the reference of the command line, the picture.
docs: install
	PYTHONPATH=tests HF_HUB_OFFLINE=1 $(BIN)/python -m readmes.write

# Format, lint and types of each commit's files, before it is made.
hooks: install
	install -m 755 .ci/pre-commit "$$(git rev-parse --git-path hooks)/pre-commit"

# One version for all six distributions, and for the entry in the MCP registry: make version VERSION=0.2.0
version:
	sed -i.bak 's/^__version__ = .*/__version__ = "$(VERSION)"/' late_rerank/__init__.py
	sed -i.bak 's/^version = .*/version = "$(VERSION)"/' $(WRAPPERS:%=%/pyproject.toml) $(WEIGHTS)/pyproject.toml
	sed -i.bak -e 's/"version": "[^"]*"/"version": "$(VERSION)"/' -e 's/mcp]==[^"]*/mcp]==$(VERSION)/' server.json
	rm server.json.bak late_rerank/__init__.py.bak $(WRAPPERS:%=%/pyproject.toml.bak) $(WEIGHTS)/pyproject.toml.bak

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/late-rerank bench --json

# Kills writers of a DiskStore some 1,200 times, and workers and drivers of bulk encodings 200 times; about 17 minutes. `make test-all`
# does a few rounds of each.
crash: install
	$(BIN)/python tests/end_to_end/crash.py --rounds 200
	PYTHONPATH=tests:tests/end_to_end $(BIN)/python tests/end_to_end/bulk_crash.py --kills 200

# The kernel's tests with AddressSanitizer and UndefinedBehaviorSanitizer, in an environment of their own. Without detect_leaks=0
# Python's own memory counts as leaked; with captured output (no -s) a report would be lost.
sanitize:
	$(PYTHON) -m venv .venv-sanitize
	.venv-sanitize/bin/python -m pip install $(QUIETLY) -c constraints.txt numpy regex tqdm pytest hypothesis
	.venv-sanitize/bin/python -m pip install $(QUIETLY) --force-reinstall --no-deps . \
		-C build-dir=build/sanitize -C cmake.build-type=RelWithDebInfo -C cmake.define.LATE_RERANK_SANITIZE=ON
	nm -D .venv-sanitize/lib/python*/site-packages/late_rerank/maxsim/_native*.so | grep -q __asan # else it fell back to NumPy
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONMALLOC=malloc \
	.venv-sanitize/bin/pytest -q -s tests/conformance/test_native_kernel.py tests/conformance/test_codecs.py

# Every target builds the virtual environment when there is none or pyproject.toml is newer.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test slow rtl formal mutants blocks methods kernels check bench clean

demo: $(STAMP)  ## the main job: prune a real model, simulate it, write runs/*/report.html
	$(BIN)/prunesim run

test: $(STAMP)  ## all tests but the slow ones, benches at one size a block
	$(BIN)/python -m pytest -n 2 -m "not slow and not rtl and not formal"

slow: $(STAMP)  ## the tests that take more than ten seconds each
	$(BIN)/python -m pytest -n 2 -m "slow and not rtl"

rtl: $(STAMP)  ## every bench of every block at all its sizes, in Verilator
	$(BIN)/python -m pytest -n 2 -m "rtl and not slow"

formal: $(STAMP)  ## bounded model checking of small sizes
	$(BIN)/python -m pytest -n 2 -m formal

mutants: $(STAMP)  ## single faults in the blocks, each of which a bench must find
	$(BIN)/python -m pytest -n 2 -m "slow and rtl"

blocks: $(STAMP)  ## verify and synthesise changed blocks, for `prunesim list blocks` and the README
	$(BIN)/prunesim rtl record --readme README.md

methods: $(STAMP)  ## the README's table of methods
	$(BIN)/prunesim list methods --readme README.md

kernels: $(STAMP)  ## compile changed GPU kernels, for the cost model and the README
	$(BIN)/prunesim kernels record --readme README.md

check: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## times and memory, beside the bars they must meet
	$(BIN)/python benchmarks/bench_cli.py
	$(BIN)/python benchmarks/bench_simulate.py
	$(BIN)/python benchmarks/bench_points.py
	$(BIN)/python benchmarks/bench_dram.py
	$(BIN)/python benchmarks/bench_released.py
	$(BIN)/python benchmarks/bench_sweep.py
	$(BIN)/python benchmarks/bench_core.py
	$(BIN)/python benchmarks/bench_accllm.py
	$(BIN)/python benchmarks/bench_search.py

clean:  ## caches and build products; the environment and runs stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "prunesim needs Python 3.11 or newer" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,models,rtl,dse,gpu]'
	touch $@

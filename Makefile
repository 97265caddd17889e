# `make reproduce` and `make test` are all a newcomer needs: each does the set-up, then the work.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-bench
OUT ?= results
PRESET ?= default
# One more than two cores: tests that wait for processes of their own leave none idle.
SPREAD := -n 3 --dist loadfile
export NONCOMMIT_CACHE ?= $(CURDIR)/.cache

.PHONY: reproduce test test-slow mutants soak check bench clean help
help:
	@echo "make reproduce   set up, run every experiment, draw the figures, write the report, print the verdicts"
	@echo "make test        set up, run the tests"
	@echo "make test-slow   the long tests too"
	@echo "make mutants     put small faults into theory/, one at a time, and see that a test fails (≤ 1 h)"
	@echo "make soak        the theorems' tests 20 times, each with other examples and keys (≤ 1 h)"
	@echo "make check       linter, formatter and type check"
	@echo "make bench       time the kernels against their peers (installs these apart, 2 GB)"

reproduce: $(STAMP)
	$(BIN)/noncommit run all --preset $(PRESET) --out $(OUT)
	$(BIN)/noncommit figures --out $(OUT)
	$(BIN)/noncommit report --out $(OUT)
	$(BIN)/noncommit verify --preset $(PRESET) --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest $(SPREAD) -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest $(SPREAD)

mutants: $(STAMP)
	$(BIN)/python -m tests.mutants

soak: $(STAMP)
	@said=$$(mktemp); for round in $$(seq 20); do \
	  seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
	  printf 'round %s, seed %s: ' $$round $$seed; \
	  HYPOTHESIS_PROFILE=soak NONCOMMIT_KEYS=$$seed $(BIN)/python -m pytest $(SPREAD) tests/theorems \
	    -m "not slow" --hypothesis-seed=$$seed -q > $$said 2>&1 || { cat $$said; exit 1; }; \
	  tail -n 1 $$said; \
	done; rm $$said

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(PEERS)/.installed
	$(PEERS)/bin/python -m benchmarks --out $(OUT)

# Peers have requirements of their own, so they never share the tests' environment.
$(STAMP): LOCK := constraints.txt
$(STAMP): EXTRAS := dev,weights,images,cluster
$(STAMP): constraints.txt
$(PEERS)/.installed: LOCK := benchmarks/constraints.txt
$(PEERS)/.installed: EXTRAS := bench,weights
$(PEERS)/.installed: benchmarks/constraints.txt
$(STAMP) $(PEERS)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "noncommit needs Python 3.11 or newer; '$(PYTHON)' is not: run make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' has no venv module: install it (Debian: apt-get install python3-venv) and run make again" >&2; exit 2; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

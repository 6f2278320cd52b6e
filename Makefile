# Working Papers. `make serve` and `make test` do all the set-up that they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
SERVE_EXTRAS := optimisation,vision,language,search,tabular,compression,rl,causal,geometry,ratings
TEST_EXTRAS := $(SERVE_EXTRAS),ray,postgres,bench,docs,test
PORT ?= 8000
WORKERS ?= 2

.PHONY: serve test quick lint smoke soak bench docs clean

serve: $(VENV)/.serve
	$(BIN)/workingpapers serve --port $(PORT)

test: $(VENV)/.test lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

# The house and the hub in under two minutes, however many papers there are; PAPERS="slug slug" adds what is quick of those.
quick: $(VENV)/.test
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" $(filter-out tests/papers/,$(wildcard tests/*/)) \
		$(wildcard tests/*.py tests/papers/*.py) $(PAPERS:%=tests/papers/%)

lint: $(VENV)/.test
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every smoke claim of every running paper, whole; prints seconds against the 20 that a claim may take.
smoke: $(VENV)/.test
	$(BIN)/python scripts/smoke.py

soak: $(VENV)/.test
	SOAK=1 $(BIN)/pytest -n 1 tests/soak

# Ratios of speed and memory against peers, side by side. Peers that no registry holds: PEER_<NAME>=FOLDER.
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(VENV)/.test
	$(BIN)/python scripts/docs.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A stamp a set of extras: a second start installs nothing. The torch of constraints.txt goes first, so that no
# other package's looser range can pull a newer one.
$(VENV)/.serve: pyproject.toml constraints.txt
	$(call install,$(SERVE_EXTRAS))
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	$(call install,$(TEST_EXTRAS))
	touch $@ $(VENV)/.serve

define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PIP) torch
	$(PIP) -e '.[$(1)]'
	$(BIN)/python scripts/compile.py
endef

# Everything sets itself up: only Python >= 3.11 and make are needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
NAMES  := $(VENV)/names/consent_ledger

.PHONY: demo test lint bench docs lock clean setup hammer faults fuzz mutants scenarios

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "consent-ledger needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p $(NAMES)
	@ln -sfn ../../../ledger ../../../projections ../../../consumers ../../../consumers/facade/__init__.py $(NAMES)
	@touch $@

demo: $(READY)  ## the main job end to end, on the embedded store
	$(BIN)/consent-ledger demo

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

hammer: $(READY)  ## ten minutes of processes that are killed while they write, and a look for lost events
	$(BIN)/python tests/hammer.py $(if $(STORE),--store $(STORE)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

fuzz: $(READY)  ## whatever can come in, half of it mutated and half made up, and what becomes of it
	$(BIN)/python tests/fuzz.py $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

scenarios: $(READY)  ## every scenario on every kind of store; make test runs each in memory and on one other
	ALL_SCENARIOS=1 $(BIN)/python -m pytest tests/test_scenarios.py

faults: $(READY)  ## every system call of every job fails once, and the process dies at every one (needs strace)
	$(BIN)/python tests/faults.py $(if $(JOB),--job $(JOB)) $(if $(EVERY),--every $(EVERY))

mutants: $(READY)  ## the code changed in one place at a time: what no scenario and no random history notices
	$(BIN)/python tests/mutants.py $(foreach module,$(MODULE),--module $(module))

lint: $(READY)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=$(VENV)/names $(BIN)/lint-imports

bench: $(READY)  ## measure against peers, in one run
	$(BIN)/consent-ledger bench

docs: $(READY)  ## write what is generated under docs
	$(BIN)/python -m consent_ledger.consumers.packs.reference
	$(BIN)/python tests/picture.py > docs/explanation/imports.svg

lock: $(READY)  ## pin every dependency anew, with hashes, naming no index
	$(BIN)/python -m pip install --quiet pip-tools
	printf 'setuptools>=77\n' > $(VENV)/build.in
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-header --no-annotate --strip-extras --allow-unsafe --extra test --extra lint \
		--output-file requirements.lock pyproject.toml $(VENV)/build.in
	sed -i '1i # Every dependency, pinned with the hashes of its files. Written by: make lock (pip-compile over pyproject.toml).' requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# `make demo` and `make test` are all the set-up: each makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: demo test soak check oldest clean

demo: $(VENV)/.demo
	$(BIN)/kinetics demo --out demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Minutes of downloads that are killed again and again.
soak: $(VENV)/.test
	$(BIN)/python -m pytest -s tests/soak/soak_*.py

# Lint and types.
check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tests with the oldest supported releases of what we stand on, `datasets` 3.6 among them.
oldest: $(VENV)-oldest/.test
	$(VENV)-oldest/bin/python -m pytest $(PYTEST_ARGS)

$(VENV)-oldest/.test: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/pip install --quiet --constraint tests/oldest.txt --editable '.[test]'
	touch $@

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.check: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[check]'
	touch $@

clean:
	rm -rf $(VENV) .venv-* build demo *.egg-info

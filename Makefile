# Each target makes the environment that it needs: `make demo` and `make test` are all the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the floors of pyproject.toml promise: annotations, commands, loading, streaming, resume, scripts and media.
OLDEST_TESTS ?= tests/annotations tests/cli tests/loading tests/media tests/sources tests/sampling/test_shards.py
# One release of each minor version of `datasets` in between, for streaming, resume and push.
DATASETS ?= 4.0.0 4.1.1 4.2.0 4.3.0 4.4.2 4.5.0 4.6.1 4.7.0 4.8.5 5.0.1 5.1.0
VERSIONS_TESTS ?= tests/loading/test_resume.py tests/sampling/test_shards.py tests/publication/test_streaming.py \
	tests/publication/test_run.py::test_datasets_alone_reads_shares_and_resumes_it
# One process more than cores, because many tests wait for processes that they kill.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PYTEST_ARGS ?= --numprocesses $(shell expr $(CORES) + 1) --maxprocesses 8 --dist worksteal

# Tests write many thousands of small files: in memory, where it has a file system with 1 GB left.
ifneq ($(shell [ "$$(df -Pk /dev/shm 2>/dev/null | awk 'END {print $$4}')" -gt 1000000 ] 2>/dev/null && echo yes),)
test oldest versions: export TMPDIR ?= /dev/shm
endif

# Tests start hundreds of interpreters, each of which would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test soak check docs docs-pictures oldest versions clean

demo: $(VENV)/.demo
	$(BIN)/kinetics demo --out demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Long runs that are killed again and again.
soak: $(VENV)/.test
	$(BIN)/python -m pytest -s --timeout=0 tests/soak/soak_*.py

# Lint, language, types, the order of imports and the declared dependencies.
check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/language.py
	$(BIN)/mypy
	PYTHONPATH=tools $(BIN)/lint-imports
	$(BIN)/deptry --no-ansi .

# The site of docs/, in build/site. A broken link or a public name without a docstring is an error, but not with
# --quiet, which drops the warnings that --strict counts.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site
	@echo "build/site/index.html is the start page"

# The pictures of docs/images, from the samplers, benchmarks/results and the demo.
docs-pictures: $(VENV)/.docs demo
	$(BIN)/python docs/scripts/samplers.py
	$(BIN)/python docs/scripts/speed.py
	$(BIN)/python docs/scripts/contact_sheet.py demo
	$(BIN)/python docs/scripts/report.py demo

# The oldest supported releases of the libraries, among them `datasets` 3.6.
oldest: $(VENV)-oldest/.test
	$(VENV)-oldest/bin/python -m pytest $(PYTEST_ARGS) $(OLDEST_TESTS)

# Twenty seconds each, without torch.
versions: $(VENV)-versions/.test
	set -e; for version in $(DATASETS); do \
		echo "datasets $$version"; \
		$(VENV)-versions/bin/pip install --quiet datasets==$$version; \
		KINETICS_TESTS_MUST_RUN=0 $(VENV)-versions/bin/python -m pytest $(PYTEST_ARGS) $(VERSIONS_TESTS); \
	done

$(VENV)-versions/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV)-versions
	$(VENV)-versions/bin/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)-oldest/.test: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/pip install --quiet --constraint tests/oldest.txt --editable '.[test]'
	touch $@

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.check: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[check]'
	touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) .venv-* build dist demo

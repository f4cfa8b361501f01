# Every target sets up what it needs: a virtual environment in .venv, nothing outside this folder.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SOURCES := bundle central relay pilot site_adapters tests benchmarks

.PHONY: help demo test check campaign bench format clean
help:
	@echo "make demo      the whole loop on this machine, with faults on purpose (about two minutes)"
	@echo "make test      every check and test"
	@echo "make check     format, lint, types, import layers, unit and property tests (two minutes)"
	@echo "make bench     measure, print the table, write benchmarks/results/"
	@echo "make campaign  the long sweeps; reports in .campaign/"

demo: $(READY)
	$(BIN)/pulk demo

test: $(READY)
	@$(MAKE) --no-print-directory lint
	$(BIN)/pytest -q -n 2 -m "not campaign and not programs"
	$(BIN)/pytest -q -n 2 --dist loadfile -m "programs and not campaign"

check: $(READY)
	@$(MAKE) --no-print-directory lint
	$(BIN)/pytest -q -n 2 -m "not campaign and not programs and not sweeps"

.PHONY: lint
lint: $(READY)
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

campaign: $(READY)
	@mkdir -p .campaign
	$(BIN)/pytest -m campaign --timeout 0 --junitxml .campaign/report.xml

bench: $(READY)
	$(BIN)/python -m benchmarks

format: $(READY)
	$(BIN)/ruff format --quiet $(SOURCES)
	$(BIN)/ruff check --quiet --fix $(SOURCES)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .campaign pulk-demo

$(READY): pyproject.toml .ci/setup
	@PYTHON="$(PYTHON)" .ci/setup .venv
	@touch $(READY)

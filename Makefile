# Commands from a bare clone; each sets up its own virtual environment first.
#   make evaluate   train, forecast and score on the embedded dataset
#   make test       run the tests
#   make audit      compare what is installed with known vulnerabilities, by a service on the internet
#   make docs       build the documentation site in build/docs
#   make dist       build wheel and sdist in dist, install each and forecast with it outside the checkout
#   make notebooks  run the notebooks with real training and keep their executed copies
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/citylearn2022-default
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: evaluate test lint audit docs dist notebooks clean

evaluate: $(VENV)/.run
	$(BIN)/python -m timediff.evaluate --config evaluation/configs/citylearn2022-default.yaml --out $(OUT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --local --skip-editable

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -b html -c docs . build/docs

dist: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python .ci/try_dist.py dist

notebooks: $(VENV)/.notebooks
	$(BIN)/python notebooks/execute.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); exit 1)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.run

$(VENV)/.notebooks: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[notebooks]"
	touch $@

clean:
	rm -rf $(VENV) runs build dist

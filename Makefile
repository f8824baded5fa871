# Thin: each target is a line or two that a person could type. The set-up is scripts/setup.sh.
# PYTHON=python3.12 and PIP_ARGS='--extra-index-url …' are handed to it.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint fuzz docs site links bench dist clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

setup: ## make .venv with all that the other targets need
	@scripts/setup.sh

demo: setup ## integrate the simulated olfactory bulb and show it (without a display: pictures in demo/)
	scripts/with_display.sh .venv/bin/napari-staligner demo $(shell scripts/with_display.sh --seen || echo --screenshots demo)

test: setup ## run the tests
	scripts/with_display.sh --hidden .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: setup ## ruff, mypy and the manifest
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/npe2 validate napari.yaml

fuzz: setup ## try malformed inputs for FUZZ_SECONDS (an hour); FUZZ_ARGS=--seed=N repeats a run
	.venv/bin/python -W ignore tests/fuzz/run.py $(or $(FUZZ_SECONDS),3600) $(FUZZ_ARGS)

bench: setup ## time and memory against the published trainer written plainly
	.venv/bin/python -W ignore benchmarks/engine.py

docs: setup ## take the pictures of the documentation
	scripts/with_display.sh --hidden .venv/bin/python scripts/make_screenshots.py

site: setup ## build the pages of the documentation into site/; their tutorials run
	.venv/bin/python -m pip install --quiet $(PIP_ARGS) --editable ".[docs]"
	rm -rf site
	PATH="$(CURDIR)/.venv/bin:$$PATH" scripts/with_display.sh --hidden python -m sphinx -W --keep-going -b html docs site $(SITE_ARGS)

links: setup ## ask every link of the documentation whether it leads somewhere
	.venv/bin/python -m pip install --quiet $(PIP_ARGS) --editable ".[docs]"
	scripts/with_display.sh --hidden .venv/bin/python -m sphinx -D nb_execution_mode=off -b linkcheck docs site/links

dist: setup ## build the wheel and the sdist into dist/
	rm -rf dist
	.venv/bin/python -m hatchling build

clean: ## remove what the other targets made, .venv included
	rm -rf .venv build dist demo site docs/_generated .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# SPDX-License-Identifier: Apache-2.0
# Every target does its own set-up (packaging/bootstrap), at once when nothing changed.

PYTHON_IN_VENV := .venv/bin/python
SHELL_SCRIPTS = git ls-files -co --exclude-standard -z | xargs -0 awk \
	'FNR == 1 { if (/^\#!.*[\/ ](ba|da)?sh$$/) print FILENAME; nextfile }'

.DEFAULT_GOAL := help
.PHONY: run test quick bench soak fuzz package lint format clean help

run: ## the main job on real parts: daemon, mount, an agent, Claude Code through the gateway
	@packaging/bootstrap run
	@CCO_CLAUDE="$${CCO_CLAUDE:-$$(packaging/install-claude --where)}" .venv/bin/cco demo

test: ## every test: linters, units, integration, booted machines
	@packaging/bootstrap test
	@$(PYTHON_IN_VENV) -m pytest -m "" $(ARGS)

quick: ## unit tests only
	@packaging/bootstrap test
	@$(PYTHON_IN_VENV) -m pytest tests/unit $(ARGS)

bench: ## latency, memory and start-up figures
	@packaging/bootstrap test
	@CCO_CLAUDE="$${CCO_CLAUDE:-$$(packaging/install-claude --where)}" \
		$(PYTHON_IN_VENV) -m tests.bench $(ARGS)

soak: ## an hour of load: memory, threads and open files must not grow (ARGS=--help)
	@packaging/bootstrap test
	@$(PYTHON_IN_VENV) -m tests.soak $(ARGS)

fuzz: ## parsers, hooks and the interface with inputs of chance (ARGS=--help)
	@packaging/bootstrap test
	@$(PYTHON_IN_VENV) -m tests.fuzz $(ARGS)

package: ## the .deb and the .rpm, into dist/
	@packaging/build-packages $(ARGS)

lint: ## ruff, mypy, import contracts, spelling, shell scripts
	@packaging/bootstrap test
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m ruff format --check .
	$(PYTHON_IN_VENV) -m mypy
	.venv/bin/lint-imports
	$(PYTHON_IN_VENV) -m codespell_lib
	shellcheck $$($(SHELL_SCRIPTS))

format: ## rewrite the sources as the linters want them
	@packaging/bootstrap test
	$(PYTHON_IN_VENV) -m ruff check --fix-only .
	$(PYTHON_IN_VENV) -m ruff format .

clean: ## remove what tools made, the environment included
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf build dist htmlcov .coverage *.egg-info man/cco*.1
	find cco tests -name __pycache__ -type d -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

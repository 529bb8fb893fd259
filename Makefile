# make sandbox    a practice server in this machine, and the whole platform on it
# make test       everything that CI runs
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
VENV_READY := $(VENV)/.ready-$(shell sha256sum requirements.txt | cut -c1-12)
export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)

.PHONY: help doctor prepare venv sandbox sandbox-down test test-fast lint types unit sanity molecule requirements
help:
	@sed -n 's/^# make/make/p' Makefile

# --- what the machine needs -------------------------------------------------------------------------------------------
doctor:
	@python3 -m lab doctor

prepare:
	@python3 -m lab prepare

venv: $(VENV_READY)

$(VENV_READY): requirements.txt
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --no-deps --require-hashes --requirement requirements.txt
	touch $@

# --- the lab server ---------------------------------------------------------------------------------------------------
sandbox: prepare
	@python3 -m lab sandbox

sandbox-down:
	@python3 -m lab down

# --- tests ------------------------------------------------------------------------------------------------------------
test: prepare
	@$(MAKE) --no-print-directory test-fast sanity molecule

test-fast: $(VENV_READY)
	@$(MAKE) --no-print-directory lint types unit

lint: $(VENV_READY)
	ruff check . && ruff format --check .
	yamllint --strict .
	ansible-lint --offline --profile production

types: $(VENV_READY)
	mypy --strict lab
	export MYPYPATH=.ansible/collections
	mypy --strict --namespace-packages --explicit-package-bases tests/unit
	MYPYPATH+=:tests/contract mypy --strict --namespace-packages --explicit-package-bases tests/contract
	MYPYPATH+=:molecule mypy --strict --namespace-packages --explicit-package-bases molecule
	unset MYPYPATH
	cd .ansible/collections
	mypy --strict --namespace-packages --explicit-package-bases ansible_collections/shaka/platform/plugins

unit: $(VENV_READY)
	PYTHONPATH=$(CURDIR)/.ansible/collections:$(CURDIR) pytest -q tests/unit

sanity: $(VENV_READY)
	@tests/sanity.sh

molecule: $(VENV_READY)
	molecule test --all

requirements:
	uv pip compile --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command 'make requirements' requirements.in -o requirements.txt

# make sandbox    a practice server in this machine, and the whole platform on it (K3S=real: K3s from its upstream, not the stand-in)
# make test       everything that CI runs
# make matrix     the unit and sanity tests with every supported ansible-core and Python that is on this machine
# make prove      the long proofs: kills, twenty runs with nothing to do, secrets, reset, an operator's tries to become root (hours)
# make bench      the collection beside what one would otherwise write
# make release    changelog, tarball and checksums of the version in galaxy.yml
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
VENV_READY := $(VENV)/.ready-$(shell cat requirements.txt lab/kubernetes_core.* | sha256sum | cut -c1-12)
export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)

.PHONY: help doctor prepare venv sandbox sandbox-down test test-fast lint types unit sanity newest matrix molecule prove bench requirements release
help:
	@sed -n 's/^# make/make/p' Makefile

# --- what the machine needs -------------------------------------------------------------------------------------------
doctor:
	@python3 -m lab doctor

prepare:
	@python3 -m lab prepare

venv: $(VENV_READY)

# the name of what is made says all that goes in
$(VENV_READY):
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --no-deps --require-hashes --requirement requirements.txt
	$(VENV)/bin/python -m lab.kubernetes_core
	touch $@

# --- the lab server ---------------------------------------------------------------------------------------------------
sandbox: prepare
	@python3 -m lab sandbox

sandbox-down:
	@python3 -m lab down

# --- tests ------------------------------------------------------------------------------------------------------------
# What needs no lab server goes two at a time, each shown once it has ended; then the scenarios, which would feel it.
test: prepare
	@echo "lint, types, unit, sanity, newest: two at a time, about 8 minutes on 2 cores"
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit newest sanity types lint
	$(MAKE) --no-print-directory molecule

test-fast: $(VENV_READY)
	@$(MAKE) --no-print-directory lint types unit

lint: $(VENV_READY)
	ruff check .
	ruff format --check .
	yamllint --strict .
	antsibull-changelog lint
	ANSIBLE_HOME=$$(mktemp -d) ansible-lint --offline --profile production  # it puts a copy of the collection there: not one that another checkout shares

types: $(VENV_READY)
	strict="mypy --strict --namespace-packages --explicit-package-bases"
	MYPYPATH=.ansible/collections mypy --strict lab benchmarks
	for part in tests/unit tests/packaging tests/contract tests/integration molecule; do MYPYPATH=.ansible/collections:$$part $$strict $$part; done
	MYPYPATH=.ansible/collections:tests:molecule $$strict tests/prove
	cd .ansible/collections
	$$strict ansible_collections/shaka/platform/plugins

unit: $(VENV_READY)
	PYTHONPATH=$(CURDIR)/.ansible/collections:$(CURDIR) pytest -q tests/unit

sanity: $(VENV_READY)
	@tests/sanity.sh

# the unit tests, and the built tarball as a user installs it, with the newest ansible-core and Python
newest:
	python3 -m tests.matrix --newest unit packaging

matrix:
	python3 -m tests.matrix unit sanity

# The scenarios backup (a quarter of an hour), awkward, edge and release take longer and belong to `make prove`.
molecule: $(VENV_READY)
	python3 -m tests.scenarios default environments host k3s

# --- figures, committed with their date ---------------------------------------------------------------------------------
prove: $(VENV_READY)
	export PYTHONPATH+=:$(CURDIR)/tests:$(CURDIR)/molecule:$(CURDIR)/.ansible/collections
	python3 -m tests.scenarios backup awkward edge release
	for proof in tarball noops canaries resets rotations escalation kills disaster move faults point_in_time releases; do python3 -m prove.$$proof; done

bench: $(VENV_READY)
	for comparison in apply_set pgbench noop edge; do python3 benchmarks/$$comparison.py; done

# --- a release --------------------------------------------------------------------------------------------------------
# The tarball has the changelog in it, so it equals the commit that is made afterwards.
release: test-fast
	@git diff --quiet HEAD || { echo "commit or stash your changes first: the tarball is made of the files here"; exit 1; }
	version=$$(sed -n 's/^version: //p' galaxy.yml)
	antsibull-changelog release --update-existing
	rm -rf dist
	ansible-galaxy collection build --output-path dist
	(cd dist && sha256sum ./*.tar.gz >SHA256SUMS && cat SHA256SUMS)
	echo "next: git add --all changelogs CHANGELOG.md && git commit -m 'Release $$version' && git tag v$$version"

requirements:
	uv pip compile --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command 'make requirements' requirements.in -o requirements.txt
	uv pip compile --generate-hashes --python-version 3.10 --no-emit-index-url --custom-compile-command 'make requirements' roles/artifacts/files/requirements-server.in -o roles/artifacts/files/requirements-server.txt

# Everything runs from a fresh clone with Python >= 3.10 and make alone; the environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test test-aarch64 test-pythons lint format bench clean
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## make .venv with edge-msa, edge-msa-run and the development tools

$(STAMP): pyproject.toml runtime/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "edge-msa needs Python 3.10 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e './runtime[onnxruntime,openvino,text]' -e '.[dev]'
	@test predictions $@

demo: install ## the whole way on the embedded default: train, distill, calibrate, export, measure, report
	$(BIN)/edge-msa pipeline --output-dir demo

test: install ## all tests, fast ones first
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests

test-aarch64: install ## the Jetson's and the Raspberry Pi's bundles on an emulated ARM, made on first use (QEMU, debootstrap)
	PYTHON=$(BIN)/python tests/integration/aarch64/make_root.sh .aarch64
	$(BIN)/python -m pytest -q -rs tests/integration/test_aarch64.py

test-pythons: install ## the runtime's tests under the Pythons of devices, 3.8 and 3.10, where they are here
	$(BIN)/python -m pytest -q -rs tests/integration/test_pythons.py

lint: install ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## let ruff format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## int8 against fp32 on long windows, and the demo's bundles where they exist; ALMT's saving; training
	$(BIN)/edge-msa bench synthetic
	$(BIN)/edge-msa bench almt
	$(BIN)/edge-msa bench training

clean: ## remove the environments and the demo
	rm -rf $(VENV) .aarch64 .pythons demo build dist

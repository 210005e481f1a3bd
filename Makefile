# make run    the app on http://127.0.0.1:8501
# make test   checks and tests, the browser's included
# make lint   ruff and mypy alone
# make bench  how fast the grid trains here, beside a plain reference (a few minutes)
# make gpu-check  on a machine with a GPU by CUDA: training's tests there, and how fast the grid trains on it
# make test-peers  makes again what other packages computed for the tests, in environments of their own (.peers)
# make api    the reference of the library, from its docstrings, into docs/api
# make pictures  the pictures of the pages in docs/pictures, from the real app with the demo's runs (minutes)
# make torture  the long trials of docs/torture.md (hours)
# make clean  removes .venv and caches; the workspace stays
#
# PYTHON=/path/to/python3.11 picks the interpreter; WORKERS=4 runs the tests on more cores.

.DEFAULT_GOAL := run
.PHONY: run test lint bench gpu-check test-peers torture api pictures clean

python := .venv/bin/python
pip := $(python) -m pip install --disable-pip-version-check --no-input $(if $(CI),--quiet)
WORKERS ?= 2
export PYTHON

# The stamps are newer than the lists they were installed from; touching a list installs again.
.venv/installed-app: requirements.txt constraints.txt .ci/venv
	@.ci/venv
	@echo "Installing what the app needs (a few minutes and some GB the first time)"
	$(pip) -r requirements.txt -c constraints.txt
	@touch $@

.venv/installed-tests: .venv/installed-app requirements-dev.txt requirements-cluster.txt
	$(pip) -r requirements.txt -r requirements-dev.txt -c constraints.txt
	@touch $@

# Where there is a screen, a browser opens on it.
screen := $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname)))

run: .venv/installed-app
	@$(python) -m streamlit run app.py $(if $(screen),--server.headless=false)

lint: .venv/installed-tests
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

# One BLAS thread a test worker: the workers share the cores, and results don't depend on how many there are.
test: lint
	@.ci/chromium
	OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) --dist loadfile

bench: .venv/installed-app
	OMP_NUM_THREADS=1 $(python) -m benchmarks.grid --quick

gpu-check: .venv/installed-tests
	SAE_TEST_DEVICE=cuda OMP_NUM_THREADS=1 $(python) -m pytest tests/training tests/objectives
	$(python) -m benchmarks.gpu

# torchvision comes with SAEBench and is not used; where it was built for another torch, transformers can't load.
.peers/saebench/installed: .ci/venv
	$(or $(PYTHON),python3) -m venv .peers/saebench
	.peers/saebench/bin/python -m pip install --disable-pip-version-check --no-input sae-bench==0.6.0 torch==2.13.0
	.peers/saebench/bin/python -m pip uninstall --yes --quiet torchvision
	@touch $@

.peers/trainers/installed: .ci/venv benchmarks/requirements.txt benchmarks/requirements-peers.txt
	$(or $(PYTHON),python3) -m venv .peers/trainers
	.peers/trainers/bin/python -m pip install --disable-pip-version-check --no-input -r benchmarks/requirements.txt -c constraints.txt
	.peers/trainers/bin/python -m pip install --disable-pip-version-check --no-input --no-deps -r benchmarks/requirements-peers.txt
	@touch $@

test-peers: .peers/saebench/installed .peers/trainers/installed .venv/installed-tests
	HF_HUB_OFFLINE=1 .peers/saebench/bin/python tests/formats/fixtures/make_saebench.py
	HF_HUB_OFFLINE=1 .peers/trainers/bin/python tests/training/fixtures/make_peers.py
	HF_HUB_OFFLINE=1 .peers/trainers/bin/python tests/formats/fixtures/make.py
	HF_HUB_OFFLINE=1 .peers/trainers/bin/python tests/formats/fixtures/make_peers.py
	$(python) -m pytest tests/formats tests/training/test_peers.py

torture: .venv/installed-tests
	OMP_NUM_THREADS=1 $(python) -m torture.files --n 10000
	$(python) -m torture.faults --kills 100
	$(python) -m torture.mishaps
	$(python) -m torture.soak

# What pages and commands are made of is no library to build on. The warnings would be of types that are imported late.
api: .venv/installed-tests
	$(python) -W ignore -m pdoc --docformat google --no-show-source --output-directory docs/api sae '!sae.ui' '!sae.cli' '!sae.__main__'

# WORKSPACE=DIR takes one that holds the demo; without it one is made, which takes minutes.
pictures: .venv/installed-tests
	@.ci/chromium
	OMP_NUM_THREADS=1 $(python) -m docs.pictures $(if $(WORKSPACE),--workspace $(WORKSPACE))

clean:
	rm -rf .venv .peers .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/browser/screenshots
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

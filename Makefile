# make demo: set everything up and run the demo.
# make test: set everything up and run the everyday checks; make test-fast: a minute or two of them;
# make test-full: all of them, as continuous integration does. docs/development.md says which is which.
# make bench: measure, in twenty minutes, and write docs/performance.md.
# make compat: try every version that pyproject.toml lets in, and write docs/compatibility.md;
# make compat TRANSFORMERS=5.99.0 tries one transformers and writes nothing.
# make docs: the documentation as a site, in site/; broken links and references are errors.
# make plugins-env: lmms-eval in .plugins/, to be put in front of .venv; make test-plugins: its tests.
# make guided: measure guided decoding next to other methods, in an hour.
# make models: try every model family on a tiny random model, and write docs/models.md.
# make methods: ask the shipped models with every method, and write docs/methods.md and docs/methods/.
#
# On Linux the default package index offers torch with CUDA, which is gigabytes. For the small build:
#     make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
TORCH_INDEX ?=
PYTEST_ARGS ?=
# Worker processes of the tests; 0 runs them in one, for a debugger.
WORKERS ?= 2
TRANSFORMERS ?=
# of each world, for make guided
GUIDED_IMAGES ?= 400

# Containers often set it. Tests start dozens of processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Compiling every module of every package takes longer than downloading them; imports compile theirs.
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check

.PHONY: env demo test test-fast test-full check bench compat methods guided models docs clean
.DEFAULT_GOAL := demo

env: $(STAMP)

# torch goes first and alone: its version is then settled before anything that asks for a range of
# versions is looked at.
# The version stands in the package, and what pip has noted of an installation is what it was then.
$(STAMP): pyproject.toml constraints.txt lvlmsal/__init__.py
	@echo "setting up $(VENV) (some minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "lvlmsal needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0 setuptools -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@$(PIP) --no-build-isolation -e '.[all,dev]' -c constraints.txt
	@touch $@

demo: env
	$(BIN)/lvlmsal evaluate configs/demo.yaml
	$(BIN)/lvlmsal evaluate configs/demo_shapes.yaml world.images=20 \
		output=runs/demo-shapes-small world.root=runs/shapes-world-small

# Style, spelling and types only: seconds instead of minutes.
check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

# Workers that have nothing left take tests from one that has: files differ a hundredfold in length.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# mypy keeps one core busy. On a fresh clone the other one meanwhile compiles what the tests import:
# each worker would do so by itself.
.PHONY: checked compiled
checked: env
	@$(MAKE) --no-print-directory -j2 check compiled

compiled: env
	@$(BIN)/python -c 'import hypothesis, matplotlib.pyplot, scipy.stats; \
		import lvlmsal.evaluation.run.evaluate, lvlmsal.testing.metric'

# pytest runs the doctests of the package too.
test: checked
	$(PYTEST) -m 'not full' $(PYTEST_ARGS)
	@echo "left out: tests marked 'full' (every combination, the wheel, notebooks); make test-full runs them"

# What one runs between two edits: style, spelling and types are those of `make check`.
test-fast: env
	$(PYTEST) -m 'not slow' $(PYTEST_ARGS)
	@echo "left out: tests marked 'slow' or 'full'; make test runs the former, make test-full both"

test-full: checked
	$(PYTEST) $(PYTEST_ARGS)

# vl-saliency is one of the things that the diagnosis is compared with: without it, the rest runs.
bench: env
	@$(BIN)/python -c 'import vl_saliency' 2>/dev/null || $(PIP) 'vl-saliency>=1.1' -c constraints.txt \
		|| echo "vl-saliency was not installed: the benchmarks go on without it"
	$(BIN)/python benchmarks/run.py

# Other versions go into .compat/, in front of those in $(VENV); torch stays what it is.
compat: env
	$(BIN)/python tools/compat.py $(if $(TRANSFORMERS),--transformers $(TRANSFORMERS))

# lmms-eval is installed without what it asks for: its bounds exclude those of pyproject.toml.
# docs/lmms-eval.md
.PHONY: plugins-env test-plugins
plugins-env: env
	$(PIP) --upgrade --no-deps --target .plugins -r tools/plugins.txt

test-plugins: plugins-env
	PYTHONPATH=.plugins $(PYTEST) tests/integration/test_lmms_eval.py tests/unit/readers $(PYTEST_ARGS)

# What a token of each method costs comes from the last `make bench`.
docs: env
	$(BIN)/python -m typer lvlmsal.cli.app utils docs --name lvlmsal --title Commands --output docs/commands.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

# Some methods are fitted on other images first, one contrasts with other pictures.
methods: env
	$(BIN)/python tools/methods_inputs.py methods stickers/methods
	for method in nullu vti; do for config in fit stickers/fit; do \
		$(BIN)/lvlmsal fit $$method $$config -o runs/fits/$$method || exit; done; done
	$(BIN)/lvlmsal evaluate stickers/methods
	$(BIN)/lvlmsal evaluate methods
	$(BIN)/lvlmsal evaluate methods_llava
	$(BIN)/python tools/methods.py runs/stickers/methods runs/methods runs/methods-llava --costs benchmarks/results/methods.json \
		--control 'sample + cut only' --command 'make methods' -o docs
	$(BIN)/python tools/hub_numbers.py

# Detectors are fitted on answers to other images first. What was answered already is read.
guided: env
	$(BIN)/lvlmsal fit fit --labels -o runs/fits
	$(BIN)/lvlmsal fit stickers/fit --labels -o runs/fits
	$(BIN)/lvlmsal evaluate guided world.images=$(GUIDED_IMAGES) \
		output=runs/guided-$(GUIDED_IMAGES) world.root=runs/guided-world-$(GUIDED_IMAGES)
	$(BIN)/lvlmsal evaluate stickers/guided world.images=$(GUIDED_IMAGES) \
		output=runs/stickers/guided-$(GUIDED_IMAGES) world.root=runs/stickers/guided-world-$(GUIDED_IMAGES)

models: env
	$(BIN)/python tools/families.py -o docs/models.md

clean:
	rm -rf build dist runs .compat .plugins .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Everything a contributor needs; `make demo` and `make test` do all the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo dist test quick check docs audit lock notebooks bench clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) with all tools: some minutes, 3 GB …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

setup: $(READY)  ## a virtual environment with all that is needed

demo: $(READY)  ## the whole road on synthetic scenes with known truth
	rm -rf demo
	$(BIN)/s2sharp demo demo

# The wheel's environment sees the packages of $(VENV), which take minutes to install, by a .pth file. Paths in such a file
# are searched, and .pth files that lie there are not read: so the clone itself, which is installed there by one, is not
# seen, and what runs is what the wheel holds. From a folder of its own, since Python looks in the present one first.
dist: $(READY)  ## sdist and wheel in dist/, checked, and the demo as who installs the wheel has it
	rm -rf dist build
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/clean
	$(BIN)/python -c 'import sys; print(*(p for p in sys.path if p.endswith("site-packages")), sep="\n")' \
		> "$$(build/clean/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tools.pth"
	build/clean/bin/python -m pip install --quiet --no-deps --no-index dist/*.whl
	cd build && clean/bin/python -c 'import s2sharp, s2sharp_core; assert all("build/clean" in m.__path__[0] for m in (s2sharp, s2sharp_core))'
	cd build && clean/bin/s2sharp demo

# One process more than two cores: runs wait for their workers, and a fifth of the time nobody had anything to do.
test: $(READY)  ## all tests but the notebooks
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --ignore tests/test_notebooks.py

quick: $(READY)  ## tests for every save: no services, no nets that learn
	$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile tests/test_faces.py \
		$(addprefix tests/core/test_,$(addsuffix .py,consistency half_pixel import lattice metrics networks observation registration regression results scene simulate weights)) \
		$(addprefix tests/pipeline/test_,$(addsuffix .py,acquisitions archives archives_about composite config footprints frozen globe ledger load load_broken overlaps quicklook refused_items signatures))

check: $(READY)  ## lint, types, who imports whom, and the site, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m mkdocs build --quiet

docs: $(READY)  ## the documentation as a site, in site/; notebooks as `make notebooks` last ran them
	$(BIN)/python -m mkdocs build

audit: $(READY)  ## known vulnerabilities of the packages in the container
	$(BIN)/pip-audit --requirement deploy/requirements.lock --no-deps --disable-pip --progress-spinner off

lock: $(READY)  ## the container's packages, the newest that fit, with the hashes of their files
	$(BIN)/uv pip compile pyproject.toml --extra cluster --extra mosaic --extra publish --extra s3 --extra slurm \
		--constraint constraints.txt --python-version 3.11 --upgrade --no-emit-package torch \
		--generate-hashes --no-annotate --no-header $(addprefix --find-links ,$(PIP_FIND_LINKS)) --quiet \
		--output-file deploy/requirements.lock
	sed -i '1i # The packages of the container, by the hashes of their files; torch comes by its own build argument. Made by `make lock`.' \
		deploy/requirements.lock

notebooks: $(READY)  ## run the notebooks, and the site with what they show
	$(BIN)/python -m pytest --numprocesses 2 tests/test_notebooks.py
	$(BIN)/python -m mkdocs build --quiet

bench: $(READY)  ## the figures in the README (needs the real scenes; some hours)
	$(BIN)/python -m tests.benchmarks.honest
	$(BIN)/python -m tests.benchmarks.accuracy
	$(BIN)/python -m tests.benchmarks.consistency
	$(BIN)/python -m tests.benchmarks.seams
	$(BIN)/python -m tests.benchmarks.memory
	$(BIN)/python -m tests.benchmarks.methods
	$(BIN)/python -m tests.benchmarks.table
	$(BIN)/python -m tests.benchmarks.papers

clean:  ## remove what was made here
	rm -rf $(VENV) build dist demo site .mypy_cache .ruff_cache .pytest_cache *.egg-info

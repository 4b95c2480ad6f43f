# `make repro` and `make test` need Python 3.11 and git, and set up the rest in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
# uv installs three times as fast as pip (docs/performance.md) but does not read pip's configuration, so pip's folders of
# wheels are passed on. `make INSTALL='.venv/bin/pip install -c constraints.txt' repro` uses pip itself.
UV := uv==0.13.9
INSTALL := $(VENV)/bin/python -m uv pip install -q --python $(VENV)/bin/python -c constraints.txt
WHEELS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
ifneq ($(WHEELS),)
export UV_FIND_LINKS := $(WHEELS)
endif
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

PORT ?= 8000
JOBS ?= 1
ON_RAY := $(filter-out 1,$(JOBS))
# Three files at a time also on two cores, since the longest wait for DVC's and Ray's processes
PYTEST := python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: repro test quick serve paper study bench ablation clean

define preset
	@git diff --quiet HEAD -- params.yaml || cmp -s params.yaml presets/$(1).yaml \
	  || { echo "params.yaml has uncommitted changes; commit them or undo them first"; exit 1; }
	cp presets/$(1).yaml params.yaml
endef

# With JOBS=4, up to four stages at a time; docs/cluster.md
repro: $(VENV)/repro.done $(if $(ON_RAY),$(VENV)/cluster.done) ## the main job: everything that params.yaml asks for, then the result table
	$(if $(ON_RAY),python -m cluster --jobs $(JOBS),dvc repro)
	@cat reports/tables/scores.md

test: $(VENV)/test.done     ## style and tests, three files at a time
	ruff check .
	ruff format --check .
	$(PYTEST)

quick: $(VENV)/test.done    ## the tests that take seconds, in under two minutes
	$(PYTEST) -m "not slow"

serve:                      ## the report in a browser, until interrupted; from another machine, forward PORT from this machine
	@echo "reports/index.html is at http://127.0.0.1:$(PORT)"
	@(sleep 1; $(PYTHON) -m webbrowser -t http://127.0.0.1:$(PORT) > /dev/null 2>&1) &
	@$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory reports

bench: $(VENV)/repro.done   ## how fast training and sampling are, compared with plain loops; the tables of docs/performance.md
	python -m benchmarks

ablation: $(VENV)/repro.done ## one parameter at several values: make ablation PARAM=horizon VALUES="1 3 5 7" [SET="seeds=3"]
	python -m ablations "$(PARAM)" $(VALUES) $(if $(SET),--set $(SET))

paper: $(VENV)/repro.done   ## the full grid at the papers' size; replaces params.yaml
	$(call preset,paper)
	dvc repro

study: $(VENV)/repro.done $(if $(ON_RAY),$(VENV)/cluster.done) ## nine tasks and every method, as long as it takes; an interrupted run goes on. Replaces params.yaml
	$(call preset,study)
	python -m studies nine-tasks --run $(if $(ON_RAY),--cluster="--jobs $(JOBS)")

clean:                      ## forget the environment; data, models and results stay
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v[:2] >= (3, 11) else f"Python 3.11 is needed, {sys.executable} is {v[0]}.{v[1]}; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q $(UV)

$(VENV)/repro.done: requirements.txt constraints.txt | $(VENV)/bin/python
	$(INSTALL) -r requirements.txt
	install -d -m 700 .dvc/tmp/site-cache  # not under /var/tmp, where other users could write to it
	dvc config --local core.site_cache_dir "$(CURDIR)/.dvc/tmp/site-cache"
	touch $@

$(VENV)/cluster.done: requirements-cluster.txt $(VENV)/repro.done
	$(INSTALL) -r requirements-cluster.txt
	touch $@

# The page's test needs a Chromium: the system's, else Debian's package where that may be installed, else Playwright's own
# build. Without any of them that test is skipped and says so.
$(VENV)/test.done: requirements-test.txt $(VENV)/repro.done $(VENV)/cluster.done
	$(INSTALL) -r requirements-test.txt
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || command -v google-chrome > /dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
	  || $(VENV)/bin/playwright install --only-shell chromium || echo "no Chromium: the test of the page will be skipped"
	touch $@

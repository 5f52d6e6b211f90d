# `make run` starts gpumon, `make test` runs its tests; README.md says the rest.
.PHONY: run demo test coverage fuzz check audit bench docs lock vendor screenshots clean
ARGS ?=

run: .venv/.run
	@.venv/bin/gpumon up $(ARGS)

demo: .venv/.run
	@.venv/bin/gpumon up --demo --data data/demo $(ARGS)

# Three files at a time: much of a test is waiting for processes. tests/conftest.py says which go together.
test: .venv/.test
	@scripts/system-packages
	.venv/bin/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

check: .venv/.test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/bandit -q -c pyproject.toml -r gpumon broker agent master webui

# What is known against the code by pattern, and against what it is locked to by the advisories that PyPI serves (which
# takes the network).
audit: .venv/.test
	.venv/bin/bandit -q -c pyproject.toml -r gpumon broker agent master webui
	.venv/bin/python scripts/audit

# What the tests of the parts reach within their own process; CONTRIBUTING.md says what the floor is for.
coverage: .venv/.test
	.venv/bin/coverage run -m pytest -q tests/gpumon tests/master tests/agent $(ARGS)
	.venv/bin/coverage report

fuzz: .venv/.test
	.venv/bin/python -m tests.fuzz $(ARGS)

bench: .venv/.test
	.venv/bin/python -m bench $(ARGS)

.venv/.run: requirements/run.txt pyproject.toml scripts/install
	@scripts/install run

.venv/.test: requirements/test.txt pyproject.toml scripts/install
	@scripts/install test

# The documentation as a site, in build/site.
docs: .venv/.test
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict $(ARGS)

screenshots: .venv/.test
	.venv/bin/python scripts/screenshots $(ARGS)

# Resolves pyproject.toml anew for every Python from 3.10 on, with hashes and without download addresses. The last three
# are what the images hold, and what builds gpumon for them.
lock:
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    --extra agent --extra master --extra notify --extra postgres --extra redis --extra top pyproject.toml requirements/build.in -o requirements/run.txt
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    --extra agent --extra master --extra notify --extra postgres --extra redis --extra top --extra dev pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/test.txt
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    --extra agent pyproject.toml -c requirements/run.txt -o requirements/agent.txt
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    --extra agent --extra master --extra notify --extra postgres --extra redis --extra top pyproject.toml -c requirements/run.txt -o requirements/master.txt
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    requirements/build.in -c requirements/run.txt -o requirements/build.txt

clean:
	rm -rf .venv build dist *.egg-info

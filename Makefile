# Development commands, for GNU make 4. `make help` lists them.
# Tools are called as `python -m tool`, because the scripts in .venv/bin contain the path of the checkout,
# which breaks if the path contains a space or the checkout is moved.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.NOTPARALLEL:
.DEFAULT_GOAL := help
unexport PYTHONHOME PYTHONPATH

PY := .venv/bin/python
PACKAGES := somamemory console api operations conversations graph memories tenants testing benchmarks tests clients/python/src/somamemory_client clients/python/examples
# Options for the tool that a target runs: make test ARGS="-k coordinates"
ARGS ?=
# The data of `make eval`
DATA ?= benchmarks/evaluation/sample

.PHONY: help run demo docs reference typescript plugins test test-adapters test-compat test-docs test-generated test-mcp test-milvus test-plugins lint types format bench bench-requests bench-graph bench-worst bench-conversations bench-peers bench-tiers \
	bench-console bench-mcp eval chaos soak release lock clean venv venv-test

help: ## show this list
	sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

run: venv ## start the service in this checkout (reads SOMA_HOST, SOMA_PORT, SOMA_THREADS, SOMA_DATA_DIR)
	exec $(PY) manage.py serve $(ARGS)

demo: venv ## store this documentation as memories and ask it five questions
	exec $(PY) -m benchmarks.demo $(ARGS)

test: venv-test ## run lint, type checks, and the tests on SQLite, PostgreSQL and Milvus (ARGS="-k word" is passed to pytest)
	exec scripts/test.sh -- $(ARGS)

quick: venv-test ## run lint, type checks, and the tests that need no database and no server (a minute and a half)
	exec scripts/quick.sh $(ARGS)

test-milvus: venv-test ## test the vector index and searches with a real Milvus server, which is installed, started and stopped
	exec scripts/test-milvus.sh -- $(ARGS)

test-mcp: venv-test ## run the official MCP conformance suite, which is installed from npm, against the MCP endpoint
	exec scripts/test-mcp.sh $(ARGS)

test-adapters: venv-test ## check the adapters of the Python client and run the suites of their frameworks, in a separate environment
	exec scripts/test-adapters.sh $(ARGS)

test-compat: venv ## run unmodified clients of other products, from registries and clones, against a new server (ARGS="sekha")
	exec scripts/test-compat.sh $(ARGS)

test-generated: venv-test ## generate clients from the OpenAPI document with two generators, and run the tutorial with them
	exec scripts/test-generated.sh

test-docs: venv-test ## run the commands in README and docs against a separate server, and check links
	exec $(PY) -m pytest -q tests/contract/test_documentation.py $(ARGS)

docs: venv ## build the documentation site in .cache/site; broken links are errors
	[ -x .cache/docs/bin/python ] || $(PY) -m venv .cache/docs
	.cache/docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 .cache/docs/bin/python -m mkdocs build --strict  # --quiet would hide warnings from --strict
	echo "Open .cache/site/index.html"

reference: venv-test ## generate the docs/reference/ pages for routes, error codes and commands
	exec $(PY) scripts/reference.py $(ARGS)

typescript: venv-test ## generate the types of clients/typescript, build it, and check its package
	$(PY) scripts/openapi.py > clients/typescript/openapi.json
	cd clients/typescript
	[ -d node_modules ] || npm ci --ignore-scripts --no-progress
	npm run --silent generate
	npm run --silent build
	npm run --silent check

plugins: venv-test ## build the bundle for Claude Desktop, dist/somamemory.mcpb, with the mcpb tool from npm
	exec scripts/test-plugins.sh --build

test-plugins: venv-test ## validate the plugins, the bundle and server.json with their vendors' tools, and call MCP tools
	exec scripts/test-plugins.sh

lint: venv-test ## check the format, likely bugs, and the direction of imports
	failed=0
	$(PY) -m ruff format --check . || failed=1
	$(PY) -m ruff check . || failed=1
	$(PY) .venv/bin/lint-imports --no-logo || failed=1
	$(PY) scripts/check_cycles.py || failed=1
	exit $$failed

types: venv-test ## run mypy in strict mode
	exec $(PY) -m mypy $(PACKAGES)

format: venv-test ## format the code and sort imports
	$(PY) -m ruff check --quiet --select I --fix .
	$(PY) -m ruff format .

bench: venv ## benchmark the embedded service on this machine (ARGS="--save FILE", later ARGS="--compare FILE")
	exec $(PY) -m benchmarks.embedded $(ARGS)

bench-requests: venv ## measure the CPU time and rate of single requests (ARGS="--compare FILE", "--database URL --redis URL")
	exec $(PY) -m benchmarks.requests $(ARGS)

bench-graph: venv-test ## benchmark traversals of graphs with 100,000 and 1,000,000 links (ARGS="--database URL" for PostgreSQL)
	exec $(PY) -m benchmarks.graph $(ARGS)

bench-worst: venv ## send the worst requests that the schema allows (ARGS="--database URL" for PostgreSQL)
	exec $(PY) -m benchmarks.worst_requests $(ARGS)

bench-conversations: venv ## benchmark conversations, queries and contexts (ARGS="--database URL" for PostgreSQL)
	exec $(PY) -m benchmarks.conversations $(ARGS)

bench-peers: venv ## compare with Chroma, LangGraph's store and mem0 (ARGS="--memories 10000 100000")
	[ -x .cache/peers/bin/python ] || $(PY) -m venv .cache/peers
	.cache/peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	exec $(PY) -m benchmarks.peers $(ARGS)

bench-mcp: venv ## measure the tools' tokens, the CPU time of MCP, two writers, and the prompt hook (installs from npm)
	for kind in tokens cpu writers; do $(PY) -m benchmarks.mcp $$kind; done
	exec $(PY) -m benchmarks.prompt_hook $(ARGS)

bench-tiers: venv ## benchmark archived and cold conversations
	exec $(PY) -m benchmarks.tiers $(ARGS)

bench-console: venv-test ## open every page with 100,000 memories in headless Chromium (ARGS="--pictures docs/images")
	exec $(PY) -m benchmarks.console $(ARGS)

eval: venv ## evaluate search on conversations with questions (DATA=FOLDER, ARGS="--share 0.1")
	exec $(PY) -m benchmarks.evaluation "$(DATA)" $(ARGS)

soak: venv ## use the embedded server for two hours and watch its memory (ARGS="--minutes 10")
	exec $(PY) -m benchmarks.soak $(ARGS)

chaos: venv-test ## kill each component of an installation in turn with kill -9 while clients write (needs ARGS="--database URL")
	exec $(PY) -m benchmarks.chaos $(ARGS)

release: venv ## build the wheels, check them, and try them in new environments (ARGS="python3.12" for one Python)
	[ -x .cache/release/bin/python ] || $(PY) -m venv .cache/release
	.cache/release/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/release.txt
	exec scripts/release.sh $(ARGS)

lock: venv ## write requirements/*.txt from *.in (ARGS=--upgrade for newer versions)
	$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet --disable-pip-version-check uv
	for set in base tracing milvus onnx s3 test milvus-server docs peers release adapters plugins; do
	    case $$set in tracing|milvus|onnx|s3|test) with=(--constraints requirements/base.txt) ;; *) with=() ;; esac
	    $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	        --no-emit-index-url --no-emit-find-links --system-certs --custom-compile-command 'make lock' \
	        $(ARGS) "$${with[@]}" requirements/$$set.in -o requirements/$$set.txt
	    echo "requirements/$$set.txt: $$(grep -c '^[^ #].*==' requirements/$$set.txt) packages"
	done

clean: ## remove caches, but not data and not .venv
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . \( -path ./.venv -o -path ./var -o -path ./.git \) -prune -o -type d -name __pycache__ -exec rm -rf {} +

venv: ## create .venv with the dependencies of the service (other targets do this automatically)
	$(call install,base)

venv-test: venv ## add the dependencies of the tests to .venv
	$(call install,test)


# $(call install,base): brings .venv in line with requirements/base.txt.
# .venv/base.stamp records the Python version and the requirements that were last installed, so that an unchanged
# set costs one checksum and no network access. .venv/unfinished marks an interrupted installation. pip might
# mistake a partly copied package for a complete one, so the next attempt starts over from pip's cache.
define install
stamp() { { $(PY) -V 2>/dev/null || true; cksum < requirements/$(1).txt; } | tr '\n' ' '; }
in_line() { [ ! -e .venv/unfinished ] && [ -x .venv/bin/somamemory ] && [ "$$(stamp)" = "$$(cat .venv/$(1).stamp 2>/dev/null)" ]; }
if in_line; then exit 0; fi

# Allow only one installation at a time, even from two terminals.
exec 9< requirements
if command -v flock >/dev/null; then flock 9; fi
if in_line; then exit 0; fi

trap 'exit 130' INT
if [ -e .venv/unfinished ] || ! $(PY) -c '$(PYTHON_IS_FIT); import pip' 2>/dev/null; then
    $(find_python)
    echo "Creating .venv with $$("$$python" -V) ..."
    rm -rf .venv
    mkdir .venv
    touch .venv/unfinished
    "$$python" -m venv .venv
fi

echo "Installing requirements/$(1).txt into .venv (a minute or two the first time) ..."
rm -f .venv/$(1).stamp
touch .venv/unfinished
if ! PYTHONUNBUFFERED=1 $(PY) -m pip install --disable-pip-version-check --no-input --progress-bar off \
        --require-hashes -r requirements/$(1).txt 2>&1 | tee .venv/install.log | {
            count=0
            while read -r word _; do
                case $$word in
                    Collecting) count=$$((count + 1)); [ $$((count % 10)) != 0 ] || echo "  $$count packages fetched" ;;
                    Installing) echo "  $$count packages fetched; installing" ;;
                esac
            done
        }; then
    rm .venv/unfinished
    tail -n 15 .venv/install.log >&2
    echo "The installation failed; see .venv/install.log. Run the same command to try again." >&2
    exit 1
fi
# The checkout and its client are importable, and .venv/bin/somamemory is the command. These paths are relative, because
# the checkout may be moved.
printf '%s\n' ../../../.. ../../../../clients/python/src > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"
printf '%s\n' '#!/bin/sh' 'exec "$$(dirname "$$0")/python" -m somamemory "$$@"' > .venv/bin/somamemory
chmod +x .venv/bin/somamemory
stamp > .venv/$(1).stamp
rm .venv/unfinished
endef

PYTHON_IS_FIT := import sys; sys.exit(1) if sys.version_info < (3, 11) else None
CAN_CREATE := import venv; from ensurepip import bootstrap
# With profile-guided optimisation, like the Pythons of distributions, but not those of pyenv unless configured.
IS_OPTIMISED := from sysconfig import get_config_var; \
    sys.exit(sys.base_prefix != '/usr' and '--enable-optimizations' not in str(get_config_var('CONFIG_ARGS')))

# Sets $python to a Python that can create a virtual environment, or prints what to install. Without PYTHON=..., an
# optimised Python is preferred. Debian keeps ensurepip in python3-venv.
define find_python
look() {
    for python in $(PYTHON) python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        if "$$python" -c "$(PYTHON_IS_FIT); $$1" 2>/dev/null; then return 0; fi
    done
    return 1
}
choose() {
    if [ -z '$(PYTHON)' ] && look "$(CAN_CREATE); $(IS_OPTIMISED)"; then return 0; fi
    look "$(CAN_CREATE)"
}
if ! choose && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing python3-venv ..."
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv; } >/dev/null || true
fi
if ! choose; then
    if look ''; then
        version="$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        echo "Python $$version is installed without its venv module: apt-get install python$$version-venv" >&2
    else
        echo "Python 3.11 or newer is required: apt-get install python3 python3-venv (Debian 12, Ubuntu 24.04 or newer)" >&2
    fi
    exit 1
fi
endef

#!/usr/bin/env bash
# Check the types of the Python client's adapters, and run their tests, their examples and the frameworks' own suites
# against real servers. Then do the same for the adapters of the TypeScript client. The frameworks are installed in
# .venv-adapters. Suites that are not packaged are fetched from their repositories (or from ADAPTER_SUITES, a folder
# with clones, if set); a missing suite counts as a failure. Arguments are passed to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
env=.venv-adapters
suites=var/adapter-suites
sources=${ADAPTER_SUITES:-https://github.com}
python=$env/bin/python
failed=0
selection=$*

stamp="$(.venv/bin/python -V) $(cksum <requirements/adapters.txt)"
if [ "$(cat $env/stamp 2>/dev/null)" != "$stamp" ]; then
    echo "Installing requirements/adapters.txt into $env ..."
    rm -rf $env
    .venv/bin/python -m venv $env
    $python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/adapters.txt
    echo "$stamp" >$env/stamp
fi

# fetch NAME REPOSITORY COMMIT FOLDER FILE...: copies files from a folder of a repository into $suites/NAME
fetch() {
    local name=$1 repository=$2 commit=$3 folder=$4 clone="$sources/$2" new=
    shift 4
    if [ "$(cat "$suites/$name/commit" 2>/dev/null)" = "$commit" ]; then return; fi
    rm -rf "${suites:?}/$name"
    if [ ! -d "$clone" ]; then
        clone=$(mktemp -d) new=yes
        git init --quiet "$clone"
        git -C "$clone" fetch --quiet --depth 1 --filter=blob:none "$sources/$repository" "$commit" 2>/dev/null || true
    fi
    if git -C "$clone" cat-file -e "$commit:$folder/$1" 2>/dev/null; then
        mkdir -p "$suites/$name"
        for file in "$@"; do git -C "$clone" show "$commit:$folder/$file" >"$suites/$name/$file"; done
        echo "$commit" >"$suites/$name/commit"
    fi
    [ -z "$new" ] || rm -rf "$clone"
}

# run TITLE PYTEST-ARGUMENT...: prints the title, then runs pytest with these arguments
run() {
    local title=$1 status=0
    shift
    echo "--- $title"
    $python -m pytest -q -rs -p no:cacheprovider -p no:recording -p no:socket -c clients/python/adapter_tests/pytest.ini \
        --rootdir . "$@" || status=$?
    # Status 5 means that no test was selected, which is an error unless the arguments of the script select tests.
    if [ $status -ne 0 ] && ! { [ $status -eq 5 ] && [ -n "$selection" ]; }; then failed=1; fi
}

export PYTHONPATH=clients/python/src:clients/python/adapter_tests:. MYPYPATH=clients/python/src
echo "--- types of the adapters"
$python -m mypy --strict --config-file= -p somamemory_client.adapters || failed=1
run "our tests and examples" clients/python/adapter_tests "$@"
# suite NAME TITLE PLUGIN: runs the files that `fetch` has copied into $suites/NAME
suite() {
    local name=$1 title=$2 plugin=$3
    shift 3
    if [ -e "$suites/$name/commit" ]; then
        run "$title" -p "$plugin" --import-mode=importlib "$suites/$name" "$@"
    else
        echo "NOT RUN: $title could not be fetched from $sources" >&2
        failed=1
    fi
}
fetch langgraph langchain-ai/langgraph f09cfe8ffc1eeffd68f4b628ed69c30f7cad229f libs/checkpoint-postgres/tests \
    test_store.py test_async_store.py embed_test_utils.py
suite langgraph "LangGraph's suite of stores" langgraph_suite "$@"
fetch google-adk google/adk-python 4006fe408c583bffd95c23455f00184baa4fad6d tests/unittests/sessions test_session_service.py
suite google-adk "Google ADK's suite of session services" google_adk_suite "$@"
echo "--- adapters of the TypeScript client"
SEQUENCES=10000 .venv/bin/python -m pytest -q -rs tests/clients/test_typescript_client.py || failed=1
exit $failed

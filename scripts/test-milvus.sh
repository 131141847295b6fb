#!/usr/bin/env bash
# Run the contract tests of the vector index, and end-to-end searches, with a real Milvus server over TCP. `make
# test-milvus` and `make test` call this script. The server comes from the PyPI package in
# requirements/milvus-server.txt, which is installed in its own environment under .cache. The server runs in a temporary
# folder, on free local ports.
#
#   scripts/test-milvus.sh [-- pytest options]
#   SOMA_TEST_MILVUS_PROCESSES   number of parallel test processes (default: 4, because tests mostly wait for the
#                                server; each takes 6 s of CPU time to start)
#   SOMA_TEST_DATABASE_URL       a PostgreSQL server for tests that create a database and kill each server in turn
#
# Exits with status 2 if the server cannot run on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ "${1-}" != -- ] || shift
python="$PWD/.venv/bin/python"
cache="$PWD/.cache/milvus"

install_server() {
    local wanted
    wanted="$("$python" -V) $(cksum < requirements/milvus-server.txt)"
    [ "$wanted" != "$(cat "$cache/stamp" 2>/dev/null)" ] || return 0
    rm -rf "$cache"
    mkdir -p "$cache"
    echo "Installing the Milvus server into .cache/milvus (60 MB, once) ..."
    "$python" -m venv "$cache/venv" &&
        "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            -r requirements/milvus-server.txt &&
        echo "$wanted" > "$cache/stamp"
}

if ! install_server; then
    echo "The Milvus server in requirements/milvus-server.txt cannot be installed here; it supports x86-64 Linux and macOS." >&2
    exit 2
fi
exec "$python" -m testing.milvus_server "$python" -m pytest -n "${SOMA_TEST_MILVUS_PROCESSES:-4}" \
    -k server tests/memories/index/test_vector_index.py tests/processes/test_milvus_server.py tests/processes/test_chaos.py "$@"

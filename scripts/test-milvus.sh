#!/usr/bin/env bash
# The contract of the vector index, and searches from end to end, on a real Milvus server over TCP; `make test-milvus`
# and `make test` call it. The server comes from the PyPI package of requirements/milvus.txt, in an environment of its
# own under .cache; it runs in a temporary folder, on free ports of the loopback.
#
#   scripts/test-milvus.sh [-- options of pytest]
#   SOMA_TEST_MILVUS_PROCESSES   parallel test processes, 8 unless set: the tests mostly wait for the server
#   SOMA_TEST_DATABASE_URL       a PostgreSQL that can make a database: each server is killed in turn, too
#
# Ends with 2 when the server cannot be had on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ "${1-}" != -- ] || shift
python="$PWD/.venv/bin/python"
cache="$PWD/.cache/milvus"

install_server() {
    local wanted
    wanted="$("$python" -V) $(cksum < requirements/milvus.txt)"
    [ "$wanted" != "$(cat "$cache/stamp" 2>/dev/null)" ] || return 0
    rm -rf "$cache"
    mkdir -p "$cache"
    echo "Installing the Milvus server into .cache/milvus (60 MB, once) ..."
    "$python" -m venv "$cache/venv" &&
        "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            -r requirements/milvus.txt &&
        echo "$wanted" > "$cache/stamp"
}

if ! install_server; then
    echo "The Milvus server of requirements/milvus.txt cannot be installed here (it exists for x86-64 Linux and macOS)." >&2
    exit 2
fi
exec "$python" -m testing.milvus_server "$python" -m pytest -n "${SOMA_TEST_MILVUS_PROCESSES:-8}" \
    -k server tests/memories/index/test_vector_index.py tests/processes/test_milvus_server.py tests/processes/test_chaos.py "$@"

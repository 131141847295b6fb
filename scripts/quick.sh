#!/usr/bin/env bash
# Lint, types and the tests that need no database and no server; `make quick` calls it. Options go to pytest.
# Types are checked while the tests run: they keep one core busy each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for name in ${!SOMA_@}; do unset "$name"; done

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
failed=0
make --no-print-directory lint || failed=1
make --no-print-directory types > "$folder/types" 2>&1 &
types=$!
SOMA_DATA_DIR="$folder/data" .venv/bin/python -m pytest -q -n 2 -m pure "$@" || failed=1
wait "$types" || failed=1
cat "$folder/types"
exit "$failed"

#!/usr/bin/env bash
# Run lint, the type checks, and the tests that need no database or server. `make quick` calls this script. Options are
# passed to pytest. The type checks run at the same time as the tests, so two cores are busy.
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

#!/usr/bin/env bash
# Run the unmodified clients of other products against a new server, and count the checks that pass.
#
#   scripts/test-compat.sh [PRODUCT...]    check these products, such as `sekha`; by default, all of them
#
# Each file scripts/compat/*.sh installs the clients of one product and runs their checks. Clients on PyPI and npm are
# installed into COMPAT_DIR, outside the checkout. Clients that are available only in repositories are used if there is a
# clone in COMPAT_SOURCES; otherwise, they are skipped. If COMPAT_RECORD is set, the exchanges are written to that file
# (see scripts/compat/record.py). In this case, pass only one product.
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPAT_DIR=${COMPAT_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/somamemory-compat}
export COMPAT_SOURCES=${COMPAT_SOURCES:-$COMPAT_DIR/sources}
export PYTHONDONTWRITEBYTECODE=1
failed=0

mkdir -p "$COMPAT_DIR"
products=("$@")
[ $# -gt 0 ] || for script in scripts/compat/*.sh; do products+=("$(basename "$script" .sh)"); done
for product in "${products[@]}"; do
    bash "scripts/compat/$product.sh" || failed=1
done
exit $failed

#!/usr/bin/env bash
# Check SomaFractalMemory's routes, and run its own tests over HTTP: see scripts/test-compat.sh. Run this script in the
# root of the checkout.
set -euo pipefail
env=$COMPAT_DIR/somafractalmemory
checks=$PWD/scripts/compat
# The first three packages are for these tests, and the others for SomaBrain's client.
packages=(pytest requests "django>=5.2,<5.3" httpx numpy opentelemetry-api prometheus-client)

if [ "$(cat "$env/stamp" 2>/dev/null)" != "${packages[*]}" ]; then
    rm -rf "$env"
    .venv/bin/python -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    echo "${packages[*]}" >"$env/stamp"
fi

cat >"$env/all.sh" <<RUN
set -uo pipefail
failed=0
export COMPAT_URL=\$COMPAT_SERVER
PYTHONPATH="$checks" "$env/bin/python" "$checks/somafractalmemory_routes.py" || failed=1
export SFM_API_URL=\$COMPAT_SERVER SFM_PORT=\${COMPAT_SERVER##*:} SOMA_API_TOKEN=\$COMPAT_KEY
if [ -d "$COMPAT_SOURCES/somafractalmemory" ]; then
    cd "$COMPAT_SOURCES/somafractalmemory"
    "$env/bin/python" -m pytest -q --noconftest -c /dev/null -p no:cacheprovider \
        tests/test_end_to_end_memory.py tests/test_live_integration.py || failed=1
else
    echo "SomaFractalMemory's tests: skipped, because there is no clone in $COMPAT_SOURCES/somafractalmemory"
fi
if [ -d "$COMPAT_SOURCES/somabrain" ]; then
    PYTHONPATH="$COMPAT_SOURCES/somabrain:$checks" "$env/bin/python" "$checks/somabrain_client.py" || failed=1
else
    echo "SomaBrain: skipped, because there is no clone in $COMPAT_SOURCES/somabrain"
fi
exit \$failed
RUN
export COMPAT_SOMA_COMPAT_SOMAFRACTALMEMORY=true COMPAT_SOMA_CREATE_TENANTS=true
recorder=(${COMPAT_RECORD:+"$PWD/.venv/bin/python" "$checks/record.py" shapes "$COMPAT_RECORD"})
exec .venv/bin/python -m testing.compat "${recorder[@]}" bash "$env/all.sh"

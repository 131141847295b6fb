#!/usr/bin/env bash
# Check Sekha's clients: see scripts/test-compat.sh. Run this script in the root of the checkout.
set -euo pipefail
env=$COMPAT_DIR/sekha
checks=$PWD/scripts/compat
# sekha-mcp does not start with version 2 of the MCP SDK. The last three packages are for sekha-proxy.
packages=(sekha-python-sdk==0.2.0 sekha-mcp==0.2.0 "mcp<2" fastapi python-dotenv aiofiles)

if [ "$(cat "$env/stamp" 2>/dev/null)" != "${packages[*]}" ]; then
    rm -rf "$env"
    .venv/bin/python -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    npm install --prefix "$env" --no-audit --no-fund --silent esbuild@0.25
    echo "${packages[*]}" >"$env/stamp"
fi

# All clients share one server. `run TITLE FOLDER COMMAND...` runs a client in the folder of its clone.
cat >"$env/all.sh" <<RUN
set -uo pipefail
failed=0
export COMPAT_URL=\$COMPAT_SERVER/sekha
run() {
    local title=\$1 folder=\$2
    shift 2
    if [ ! -d "\$folder" ]; then echo "\$title: skipped, because there is no clone in \$folder"; return; fi
    (cd "\$folder" && "\$@") || failed=1
}
run "Sekha Python SDK 0.2" . env PYTHONPATH="$checks" "$env/bin/python" "$checks/sekha_sdk_02.py"
run "sekha-mcp 0.2" . env PYTHONPATH="$checks" "$env/bin/python" "$checks/sekha_mcp_02.py"
run "Sekha Python SDK 0.5" "$COMPAT_SOURCES/sekha-python-sdk" \
    env PYTHONPATH="$COMPAT_SOURCES/sekha-python-sdk:$checks" "$env/bin/python" "$checks/sekha_sdk_05.py"
run "Sekha JavaScript SDK 0.2" "$COMPAT_SOURCES/sekha-js-sdk" bash -c \
    '"$env/node_modules/.bin/esbuild" src/index.ts --bundle --platform=node --format=esm --log-level=error \
    --outfile="$env/sekha.mjs" && node "$checks/sekha_js.mjs" "$env/sekha.mjs"'
run "sekha-proxy" "$COMPAT_SOURCES/sekha-proxy" \
    env PYTHONPATH="$COMPAT_SOURCES/sekha-proxy/src:$checks" "$env/bin/python" "$checks/sekha_llm_proxy.py"
run "smoke_test.sh" "$COMPAT_SOURCES/sekha-controller" \
    env SEKHA_BASE_URL=\$COMPAT_URL SEKHA_API_KEY=\$COMPAT_KEY bash -c \
    'bash tests/e2e/smoke_test.sh >$env/smoke.log && echo "smoke_test.sh: all steps" || { cat $env/smoke.log; false; }'
exit \$failed
RUN
recorder=(${COMPAT_RECORD:+"$PWD/.venv/bin/python" "$checks/record.py" shapes "$COMPAT_RECORD"})
exec .venv/bin/python -m testing.compat "${recorder[@]}" bash "$env/all.sh"

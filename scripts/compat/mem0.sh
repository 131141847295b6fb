#!/usr/bin/env bash
# mem0's clients: see scripts/test-compat.sh. Run in the root of the checkout.
# COMPAT_RECORD=FILE also writes the exchanges to a file, in the form of tests/compat/mem0_exchanges.jsonl.
set -euo pipefail
env=$COMPAT_DIR/mem0
checks=$PWD/scripts/compat
packages=(mem0ai==2.2.1 mem0-cli==0.2.13)
# What the integration suites of the TypeScript client need, instead of all its optional vector stores.
node_packages=(jest@29 ts-jest@29 typescript@5.5.4 axios@1 dotenv@16 zod@3 uuid@9 @types/jest@29 @types/node@20 @types/uuid@9)

if [ "$(cat "$env/stamp" 2>/dev/null)" != "${packages[*]} ${node_packages[*]}" ]; then
    rm -rf "$env"
    .venv/bin/python -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    npm install --prefix "$env" --no-audit --no-fund --silent --ignore-scripts "${node_packages[@]}"
    echo "${packages[*]} ${node_packages[*]}" >"$env/stamp"
fi

cat >"$env/all.sh" <<RUN
set -uo pipefail
failed=0
export HOME="$env/home" MEM0_TELEMETRY=false COMPAT_URL=\$COMPAT_SERVER/mem0 PYTHONPATH="$checks"
mkdir -p "\$HOME"
if [ -n "\${COMPAT_RECORD:-}" ]; then
    coproc recorder { exec "$env/bin/python" "$checks/recorder.py" "\$COMPAT_RECORD" "\$COMPAT_SERVER"; }
    read -r port <&"\${recorder[0]}"
    export COMPAT_URL=http://127.0.0.1:\$port/mem0
    trap 'kill \$recorder_PID' EXIT
fi
export MEM0_API_KEY=\$COMPAT_KEY MEM0_HOST=\$COMPAT_URL MEM0_BASE_URL=\$COMPAT_URL SOMA_DOCS="$PWD/docs/how-to/migrating-from-mem0.md"
"$env/bin/python" "$checks/mem0_clients.py" sync 2>"$env/client.log" || { tail -n 5 "$env/client.log"; failed=1; }
"$env/bin/python" "$checks/mem0_clients.py" async 2>"$env/client.log" || { tail -n 5 "$env/client.log"; failed=1; }
"$env/bin/python" "$checks/mem0_clients.py" document 2>"$env/client.log" || { tail -n 5 "$env/client.log"; failed=1; }
"$env/bin/python" "$checks/mem0_command.py" "$env/bin/mem0" || failed=1
if [ -d "$COMPAT_SOURCES/mem0/mem0-ts" ]; then
    rm -rf "$env/mem0-ts"
    cp -R "$COMPAT_SOURCES/mem0/mem0-ts" "$env/mem0-ts"
    cd "$env/mem0-ts"
    # The suites have no setting for the host.
    sed -i 's#options.host || "https#options.host || process.env.MEM0_HOST || "https#' src/client/mem0.ts
    "$env/node_modules/.bin/jest" --config jest.integration.config.js --forceExit \
        client/tests/integration/crud client/tests/integration/batch client/tests/integration/search \
        client/tests/integration/initialization || failed=1
else
    echo "mem0's TypeScript suites: skipped, because there is no clone in $COMPAT_SOURCES/mem0"
fi
exit \$failed
RUN
exec .venv/bin/python -m testing.compat bash "$env/all.sh"

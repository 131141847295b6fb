#!/usr/bin/env bash
# Check mem0's clients: see scripts/test-compat.sh. Run this script in the root of the checkout.
set -euo pipefail
env=$COMPAT_DIR/mem0
checks=$PWD/scripts/compat
packages=(mem0ai==2.2.1 mem0-cli==0.2.13)
older=(0.1.67 0.1.118 1.0.11)
# The packages that the integration suites of the TypeScript client need, without its optional vector stores.
node_packages=(jest@29 ts-jest@29 typescript@5.5.4 axios@1 dotenv@16 zod@3 uuid@9 @types/jest@29 @types/node@20 @types/uuid@9)

if [ "$(cat "$env/stamp" 2>/dev/null)" != "${packages[*]} ${older[*]} ${node_packages[*]}" ]; then
    rm -rf "$env"
    .venv/bin/python -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    for version in "${older[@]}"; do
        "$env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --target "$env/mem0ai-$version" "mem0ai==$version"
    done
    npm install --prefix "$env" --no-audit --no-fund --silent --ignore-scripts "${node_packages[@]}"
    echo "${packages[*]} ${older[*]} ${node_packages[*]}" >"$env/stamp"
fi

cat >"$env/all.sh" <<RUN
set -uo pipefail
failed=0
export HOME="$env/home" MEM0_TELEMETRY=false COMPAT_URL=\$COMPAT_SERVER/mem0 PYTHONPATH="$checks"
mkdir -p "\$HOME"
export MEM0_API_KEY=\$COMPAT_KEY MEM0_HOST=\$COMPAT_URL MEM0_BASE_URL=\$COMPAT_URL SOMA_DOCS="$PWD/docs/how-to/migrating-from-mem0.md"
"$env/bin/python" "$checks/mem0_clients.py" sync 2>"$env/client.log" || { tail -n 5 "$env/client.log"; failed=1; }
"$env/bin/python" "$checks/mem0_clients.py" async 2>"$env/client.log" || { tail -n 5 "$env/client.log"; failed=1; }
"$env/bin/python" "$checks/mem0_clients.py" document 2>"$env/client.log" || { tail -n 5 "$env/client.log"; failed=1; }
"$env/bin/python" "$checks/mem0_command.py" "$env/bin/mem0" || failed=1
for version in ${older[*]}; do
    PYTHONPATH="$env/mem0ai-\$version:$checks" "$env/bin/python" "$checks/mem0_older.py" "\$version" 2>"$env/client.log" ||
        { tail -n 5 "$env/client.log"; failed=1; }
done
if [ -d "$COMPAT_SOURCES/mem0/mem0-ts" ]; then
    rm -rf "$env/mem0-ts"
    cp -R "$COMPAT_SOURCES/mem0/mem0-ts" "$env/mem0-ts"
    cd "$env/mem0-ts"
    # The suites have no setting for the server's host, so change the client's default.
    sed -i 's#options.host || "https#options.host || process.env.MEM0_HOST || "https#' src/client/mem0.ts
    "$env/node_modules/.bin/jest" --config jest.integration.config.js --forceExit \
        client/tests/integration/crud client/tests/integration/batch client/tests/integration/search \
        client/tests/integration/initialization || failed=1
else
    echo "mem0's TypeScript suites: skipped, because there is no clone in $COMPAT_SOURCES/mem0"
fi
exit \$failed
RUN
recorder=(${COMPAT_RECORD:+"$PWD/.venv/bin/python" "$checks/record.py" answers "$COMPAT_RECORD"})
exec .venv/bin/python -m testing.compat "${recorder[@]}" bash "$env/all.sh"

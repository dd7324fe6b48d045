#!/bin/sh
# Make .bench: an environment of their own for the routers that the gateway is measured beside.
# Installs only where something changed.
set -eu
cd "$(dirname "$0")/.."
list=scripts/bench-requirements.txt
stamp=.bench/.installed
wanted=$(cksum <"$list")
if ! [ -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || ! .bench/bin/python -c '' 2>/dev/null; then
    echo "Installing what $list lists into .bench ..."
    rm -rf .bench
    .venv/bin/python -m venv .bench
    if ! .bench/bin/python -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
        --require-hashes -r "$list"; then
        echo "The packages of $list could not be installed: is the package index reachable?" >&2
        exit 1
    fi
    printf '%s' "$wanted" >"$stamp"
fi

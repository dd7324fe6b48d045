#!/bin/sh
# Make .peers: an environment of their own for the calculators that Rigfit is compared with, then compare.
# Usage: peers.sh MEASURED.jsonl [options of compare_peers.py]. Installs only where something changed.
set -eu

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

[ -n "${1:-}" ] || fail "Name a file of measured start-ups: make peers MEASURED=path/to/measured.jsonl"
measured=$(realpath -- "$1") && [ -f "$measured" ] || fail "There is no file $1."
shift
cd "$(dirname "$0")/.."
list=scripts/peers-requirements.txt
stamp=.peers/.installed
wanted=$(cksum <"$list")
if ! [ -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || ! .peers/bin/python -c '' 2>/dev/null; then
    echo "Installing what $list lists into .peers ..."
    rm -rf .peers
    .venv/bin/python -m venv .peers
    .peers/bin/python -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: --require-hashes \
        -r "$list" || fail "The packages of $list could not be installed: is the package index reachable?"
    printf '%s' "$wanted" >"$stamp"
fi
exec .venv/bin/python scripts/compare_peers.py "$measured" --peers .peers/bin "$@"

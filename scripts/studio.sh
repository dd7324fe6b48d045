#!/bin/sh
# Make .studio, LangGraph's development server: what it needs besides, in front of the packages that .venv has already.
# Runs only where something changed: a stamp holds the checksum of what was installed.
set -eu
cd "$(dirname "$0")/.."

list=scripts/studio-requirements.txt
stamp=.studio/.installed
wanted=$(cksum <"$list")
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .studio/bin/python -c '' 2>/dev/null && exit 0

echo "Installing what $list lists into .studio ..."
rm -rf .studio
.venv/bin/python -m venv .studio
.studio/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r "$list" || {
    echo "The packages of $list could not be installed: is the package index reachable?" >&2
    exit 1
}
folder='import sysconfig; print(sysconfig.get_path("purelib"))'
.venv/bin/python -c "$folder" >"$(.studio/bin/python -c "$folder")/rigfit.pth"
printf '%s' "$wanted" >"$stamp"

#!/bin/sh
# Make .venv and install what is locked. Usage: install.sh app|dev
# Runs only where something changed: a stamp holds the checksum of what was installed.
set -eu
cd "$(dirname "$0")/.."
what=${1:-app}

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

find_python() {
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$name"
            return
        fi
    done
}

command -v make >/dev/null 2>&1 || fail "Install make (Debian, Ubuntu: apt install make), then say: make run"

case $what in
    app) files="requirements-build.lock requirements.lock" ;;
    dev) files="requirements-build.lock requirements.lock requirements-dev.lock" ;;
    *) fail "install.sh: say app or dev" ;;
esac

stamp=".venv/.installed-$what"
# shellcheck disable=SC2086
wanted=$(cat $files pyproject.toml | cksum)
if [ -x .venv/bin/python ]; then
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null && exit 0
fi

python=$(find_python)
[ -n "$python" ] || fail "Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv), then run this again."
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Install Python's venv and ensurepip (Debian, Ubuntu: apt install python3-venv), then run this again."

if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv || fail "Could not make .venv here; see the line above."
fi

echo "Installing what $files list into .venv (a few minutes the first time) ..."
for file in $files; do
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-build-isolation --require-hashes -r "$file" ||
        fail "The packages of $file could not be installed: is the package index reachable? See the lines above."
done
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
.venv/bin/python -m compileall -q agent tools serving ui prompts
printf '%s' "$wanted" >"$stamp"
# what dev installs includes what app installs
if [ "$what" = dev ]; then
    cat requirements-build.lock requirements.lock pyproject.toml | cksum | tr -d '\n' >.venv/.installed-app
fi

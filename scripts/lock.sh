#!/bin/sh
# Resolve the dependencies for every supported Python into hashed files that name no index.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check 'uv==0.13.9'
compile() {
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --upgrade "$@"
}
compile pyproject.toml -o requirements.lock
compile --group build -c requirements.lock -o requirements-build.lock
compile --group dev -c requirements.lock -o requirements-dev.lock

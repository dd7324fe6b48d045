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

NGINX = "nginx:1.28-alpine"

BNB_PLUGIN = ("vllm-bnb-plugin==0.0.3", "bitsandbytes==0.50.2")
"""bitsandbytes left vLLM's core in 0.28 for this package (vllm-project/vllm#43529)."""

LOAD_BYTES_PER_S = 200e6
"""Assumed slowest reading of weights from disk: a busy SATA SSD or a network disk. Only a time limit rests on it."""

START_S = 300
"""Assumed longest time an engine takes besides reading weights: imports, compiling, capturing CUDA graphs."""

"""What the engine holds after loading: registered parameters, plus what repacking and buffers add."""

from __future__ import annotations

from tools.domain import Deployment
from tools.vram.weights import parameter_bytes


def loaded_bytes(deployment: Deployment) -> int:
    """Bytes of weights on the fullest rank after loading."""
    return round(registered_bytes(deployment) * 1.002)


def registered_bytes(deployment: Deployment) -> int:
    """Bytes vLLM's model code registers on the fullest rank."""
    return parameter_bytes(deployment.model, deployment.checkpoint, deployment.tp)


def backend(deployment: Deployment) -> str:
    """Name the kernels that hold the weights."""
    return "vLLM " + deployment.checkpoint.quantization.method

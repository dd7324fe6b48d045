"""Which engine's arithmetic a deployment follows."""

from __future__ import annotations

from collections.abc import Callable

from tools.domain import Deployment, Footprint, Gpu
from tools.errors import NotYetExact

ENGINES = (
    "vllm",
    "sglang",
    "llama.cpp",
    "ollama",
    "lm studio",
    "text-generation-webui",
    "exllamav3",
    "transformers",
)
"""Engines whose memory is computed."""

Answer = Callable[[Deployment, Gpu | None], Footprint]


def engine_footprint(deployment: Deployment) -> Answer:
    """Return the function that answers for an engine other than vLLM.

    Raises:
        NotYetExact: the engine is not covered.
    """
    from tools.vram.engines import llamacpp, ollama, sglang, transformers

    known: dict[str, Answer] = {
        "llama.cpp": llamacpp.footprint,
        "lm studio": llamacpp.footprint,
        "ollama": ollama.footprint,
        "sglang": sglang.footprint,
        "transformers": transformers.footprint,
        "exllamav3": transformers.exllama_footprint,
        "text-generation-webui": transformers.webui_footprint,
    }
    found = known.get(deployment.engine)
    if found is None:
        raise NotYetExact("errors_vram.engine_not_covered", engine=deployment.engine[:60], allowed=", ".join(ENGINES))
    return found

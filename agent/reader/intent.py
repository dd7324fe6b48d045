"""What is wanted: one intent, and for a configuration its kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from agent.reader.said import Said

ORDER = (
    "config_strong",
    "which_quant",
    "max_copies",
    "max_users",
    "max_context",
    "how_many_gpus",
    "explain_error",
    "config_asked",
    "which_model",
    "compare",
    "throughput",
    "why",
    "memory_needed",
    "hardware_needed",
    "config",
    "fit",
)
"""Where a text has phrases of several intents, the first of these wins."""

_NAMES = {"config_strong": "config", "config_asked": "config", "why": "explain_error"}
_OF_ENGINE = {
    "vllm": "vllm_serve",
    "sglang": "sglang",
    "llama.cpp": "llama_cpp",
    "ollama": "ollama",
    "text-generation-webui": "webui",
}
_KINDS = ("slurm", "docker_compose", "k8s", "ray", "llama_swap", "llama_cpp", "sglang", "webui", "ollama", "vllm_serve")


def choose_intent(said: Said) -> str | None:
    """Return the intent of a turn, or None where it shows none ("and with 64k?")."""
    found = said.intents
    for intent in ORDER:
        if intent in found and not _beaten(intent, found, said):
            return _NAMES.get(intent, intent)
    return None


def _beaten(intent: str, found: Mapping[str, int], said: Said) -> bool:
    """Phrases that mean their intent only in the right company."""
    if intent == "compare":
        several = len(said.gpus) > 1 or len(said.models) > 1
        return not several and "hardware_needed" in found
    if intent == "hardware_needed":
        return bool(said.gpus) and "fit" in found
    if intent == "which_model" and said.models and "hardware_needed" in found:
        return True
    if intent == "which_model":
        return (
            any(m.name and not m.name.endswith("model") for m in said.models)
            and "fit" in found
            and not _asks(found, intent)
        )
    return False


def _asks(found: Mapping[str, int], intent: str) -> bool:
    return found[intent] == min(found.values())


def choose_kind(kinds: Collection[str], engine: str | None) -> str | None:
    """Return the kind of configuration: a file by its name first, then the engine's own command."""
    named = next((kind for kind in _KINDS if kind in kinds), None)
    return named or _OF_ENGINE.get(engine or "")

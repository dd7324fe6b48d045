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
    "which_model",
    "compare",
    "throughput",
    "memory_needed",
    "hardware_needed",
    "config",
    "fit",
)
"""Where a text has phrases of several intents, the first of these wins."""

_KINDS = ("slurm", "docker_compose", "k8s", "ray", "llama_swap", "llama_cpp", "sglang", "webui", "ollama", "vllm_serve")


def choose_intent(said: Said) -> str | None:
    """Return the intent of a turn, or None where it shows none ("and with 64k?")."""
    found = said.intents
    for intent in ORDER:
        if intent in found and not _beaten(intent, found, said):
            return "config" if intent == "config_strong" else intent
    return None


def _beaten(intent: str, found: Mapping[str, int], said: Said) -> bool:
    """Phrases that mean their intent only in the right company."""
    if intent == "compare":
        several = len(said.gpus) > 1 or len(said.models) > 1
        return not several and "fit" in found and len(found) == 2
    if intent == "which_model":
        return (
            any(m.name and not m.name.endswith("model") for m in said.models)
            and "fit" in found
            and not _asks(found, intent)
        )
    return False


def _asks(found: Mapping[str, int], intent: str) -> bool:
    return found[intent] == min(found.values())


def choose_kind(kinds: Collection[str], said_intents: Collection[str]) -> str | None:
    """Return the kind of configuration: files by name first, then the engine's own command."""
    for kind in _KINDS:
        if kind in kinds and (
            kind not in {"vllm_serve", "ollama"} or "config_strong" in said_intents or kind == "vllm_serve"
        ):
            return kind
    return None

"""Every path the gateway knows. What is not in these tables can't be reached, whatever an engine serves there."""

from __future__ import annotations

FORWARDED = frozenset(
    {
        # OpenAI's (platform.openai.com/docs/api-reference)
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        # Anthropic's, which vLLM and llama.cpp serve too
        "/v1/messages",
        "/v1/messages/count_tokens",
        # vLLM 0.32's (vllm/entrypoints/**/api_router.py): questions to a model, answered by it and changing nothing
        "/v1/rerank",
        "/v2/rerank",
        "/rerank",
        "/v1/score",
        "/score",
        "/v2/embed",
        "/pooling",
        "/classify",
        "/tokenize",
        "/detokenize",
    }
)
"""Paths that are sent on by POST, as they stand here, to the engine of the body's ``model``.

Engines' own controls (``/sleep``, ``/collective_rpc``, ``/update_weights``, ``/v1/load_lora_adapter``) are not here.
"""

FORMS = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})
"""Likewise, to the engine of the field ``model`` of a form (multipart/form-data)."""

MODELS, HEALTH, METRICS = "/v1/models", "/health", "/metrics"
MODEL = "/v1/models/"
_OWN = frozenset({MODELS, HEALTH, METRICS})

WAKE, PIN, UNPIN = "/rigfit/wake", "/rigfit/pin", "/rigfit/unpin"
TURNS = frozenset({WAKE, PIN, UNPIN})
"""Wishes of whoever runs the gateway, by POST of ``{"model": NAME}``, where engines take turns."""


def is_own(path: str) -> bool:
    """Tell whether the gateway answers a path itself, by GET: one of its own, or a model's."""
    return path in _OWN or (path.startswith(MODEL) and path != MODEL)

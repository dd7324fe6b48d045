"""An engine for Ray Serve LLM that answers with what it was given, in place of vLLM's: no weights, no card.

Ray takes it from RAYLLM_VLLM_ENGINE_CLS (``LLMServer._get_default_engine_class``, ray.llm of 2.60.0).
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from ray import serve
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionResponse,
    ChatCompletionStreamResponse,
    CompletionResponse,
)
from ray.llm._internal.serve.core.engine.protocol import LLMEngine
from ray.util.placement_group import get_current_placement_group, placement_group_table
from vllm.engine.arg_utils import AsyncEngineArgs

ANSWER_S = 0.05
"""How long an answer takes, so that requests at once meet more than one replica."""


class StandInEngine(LLMEngine):
    """Checks its settings as vLLM's engine does when it starts, then answers every prompt with them."""

    def __init__(self, llm_config: Any) -> None:
        self._config = llm_config

    async def start(self) -> None:
        """Make vLLM's own arguments of the settings; those that it does not know end the replica here."""
        wanted = self._config.get_engine_config().get_initialization_kwargs()
        made = AsyncEngineArgs(**wanted)
        config = self._config.get_engine_config()
        group = get_current_placement_group()
        self._facts = {
            "model": made.model,
            "served": made.served_model_name,
            "settings": {**config.frontend_kwargs, **{name: _plain(getattr(made, name)) for name in wanted}},
            "replica": serve.get_replica_context().replica_id.unique_id,
            "bundles": group.bundle_specs,
            "strategy": placement_group_table(group)["strategy"],
            "environment": {name: value for name, value in os.environ.items() if name.startswith("VLLM_")},
        }

    async def chat(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Answer a chat, whole or in pieces."""
        text = await self._answer()
        if not request.stream:
            message = {"role": "assistant", "content": text}
            yield ChatCompletionResponse(
                model=request.model, choices=[{"index": 0, "message": message}], usage=_usage()
            )
            return
        for start in range(0, len(text), 40):
            choice = {"index": 0, "delta": {"role": "assistant", "content": text[start : start + 40]}}
            piece = ChatCompletionStreamResponse(model=request.model, choices=[choice])
            yield f"data: {piece.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    async def completions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Answer a completion."""
        choice = {"index": 0, "text": await self._answer()}
        yield CompletionResponse(model=request.model, choices=[choice], usage=_usage())

    async def _answer(self) -> str:
        await asyncio.sleep(ANSWER_S)
        return json.dumps(self._facts)

    async def embeddings(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Answer nothing: the models write text."""
        return
        yield

    transcriptions = embeddings

    def routing_stats(self) -> dict[str, Any]:
        """Return nothing: requests go to who has least to do."""
        return {}

    async def resolve_lora(self, lora_model: Any) -> None:
        """Load nothing."""

    async def reset_prefix_cache(self) -> None:
        """Forget nothing."""


def _plain(value: Any) -> Any:
    """Leave what JSON knows as it is."""
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

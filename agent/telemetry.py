"""OpenTelemetry spans of a turn: its steps, tool calls and model calls by name, time and token counts; no words of it.

Off unless a collector is set (``RIGFIT_OTLP_URL``). Attribute names are those of OpenTelemetry's semantic conventions
for generative AI (opentelemetry-semantic-conventions 0.66b2, ``gen_ai``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from tools.errors import BadValue, ServiceError
from tools.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

SEND_S = 2.0
"""Longest time for one batch of spans; a collector that is away costs the program's end no more."""
GRAPH = "rigfit"
"""Name of the graph; what else is run at the top is no turn."""
_STEP = "graph:step:"
"""How LangGraph tags the run of a node (langgraph 1.2, ``langgraph/pregel/_algo.py``)."""
_NAME_CHARS = 120


@asynccontextmanager
async def turn_spans(settings: Settings) -> AsyncIterator[list[BaseCallbackHandler]]:
    """Yield the callbacks that write the spans of a graph's runs; none where no collector is set.

    Raises:
        BadValue: the collector's address is none.
        ServiceError: the extra ``otel`` is not installed.
    """
    if not settings.otlp_url:
        yield []
        return
    provider = _provider(settings.otlp_url)
    try:
        yield [TurnSpans(provider.get_tracer("rigfit", version("rigfit")))]
    finally:
        await asyncio.to_thread(provider.shutdown)


def _provider(url: str) -> TracerProvider:
    """Return what sends spans to a collector by OTLP over HTTP; it sets nothing for the whole process."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadValue(
            "errors.bad_setting", name="RIGFIT_OTLP_URL", value=url[:_NAME_CHARS], allowed="http(s)://HOST:PORT"
        )
    try:
        import logging

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ServiceError("errors_agent.otel_missing") from error
    # what it says of a collector that is away is for whoever collects logs, not for a terminal
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    about = {"service.name": "rigfit", "service.version": version("rigfit")}
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=SEND_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class TurnSpans(BaseCallbackHandler):
    """Writes a span for each run of the graph, and under it for its nodes, tools and model calls.

    Inputs, outputs and messages of errors are never looked into, but for a turn's language, kind and writer.

    Args:
        tracer: where spans are begun.
    """

    run_inline = True

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[UUID, Span] = {}
        self._above: dict[UUID, UUID] = {}

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str = "",
        **more: Any,
    ) -> None:
        """Begin the span of a turn or of a node; what LangChain runs inside of a node has none."""
        if parent_run_id is None and name == GRAPH:
            self._begin("turn", run_id, None, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "rigfit"})
        elif any(tag.startswith(_STEP) for tag in tags or ()):
            self._begin(f"node {(metadata or {}).get('langgraph_node', '')}", run_id, parent_run_id, {})
        elif parent_run_id is not None:
            self._above[run_id] = parent_run_id

    def on_chain_end(self, outputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **more: Any) -> None:
        """End it; a turn's tells what kind of answer it came to."""
        done = outputs.get("result") if isinstance(outputs, dict) and parent_run_id is None else None
        self._end(run_id, _about_turn(done) if isinstance(done, Mapping) else {})

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """End it as failed."""
        self._end(run_id, {}, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **more: Any,
    ) -> None:
        """Begin the span of a tool's call."""
        name = str((serialized or {}).get("name", ""))[:_NAME_CHARS]
        known = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        self._begin(f"execute_tool {name}", run_id, parent_run_id, known)

    def on_tool_end(self, output: Any, *, run_id: UUID, **more: Any) -> None:
        """End it."""
        self._end(run_id, {})

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """End it as failed."""
        self._end(run_id, {}, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Begin the span of a model's call."""
        model = str((metadata or {}).get("ls_model_name", ""))[:_NAME_CHARS]
        self._begin(
            f"chat {model}", run_id, parent_run_id, {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        )

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> None:
        """End it, with its tokens where the server counted them."""
        message = getattr(response.generations[0][0], "message", None) if any(response.generations) else None
        used = getattr(message, "usage_metadata", None) or {}
        counted = {f"gen_ai.usage.{kind}": used.get(kind) for kind in ("input_tokens", "output_tokens")}
        self._end(run_id, {name: count for name, count in counted.items() if count is not None})

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """End it as failed."""
        self._end(run_id, {}, error)

    def _begin(self, name: str, run_id: UUID, parent: UUID | None, known: Mapping[str, Any]) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        while parent and parent in self._above:
            parent = self._above[parent]
        above = self._open.get(parent) if parent else None
        context = set_span_in_context(above, Context()) if above else Context()
        self._open[run_id] = self._tracer.start_span(name, context, attributes=dict(known))

    def _end(self, run_id: UUID, known: Mapping[str, Any], error: BaseException | None = None) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._above.pop(run_id, None)
        span = self._open.pop(run_id, None)
        if span is None:
            return
        span.set_attributes(dict(known))
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _about_turn(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a turn's span tells of its answer."""
    known = {f"rigfit.{key}": result.get(key) for key in ("language", "kind", "grounded")}
    known["gen_ai.request.model"] = str(result.get("llm", ""))[:_NAME_CHARS]
    return {name: value for name, value in known.items() if value is not None}

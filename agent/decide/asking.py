"""The ways to ask a model for its next step: with tools, or by structured output where it has none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool

from agent.decide.forms import ANSWER, arguments_of, call_id, described, next_step, object_in, offered
from agent.decide.prompt import weight
from agent.decide.stream import gathered

if TYPE_CHECKING:
    from openai import APIStatusError

_TOO_LONG = re.compile(r"context[ _](?:length|window|size)", re.IGNORECASE)
_LENGTH = re.compile(r"context (?:length is|size \()\s?(\d{1,9})\b")
"""As vLLM has it (vllm/renderers/params.py, 0.32.0), and OpenAI; and llama.cpp (tools/server/server-context.cpp)."""
_LIMIT, _NEWER_LIMIT = "max_tokens", "max_completion_tokens"
"""An answer's longest in tokens: the name that every server knows, and the one that OpenAI's thinking models insist on
(https://platform.openai.com/docs/api-reference/chat/create)."""
_SAID_CHARS = 2000
_SMALLEST_CONTEXT = 512
_CHOOSE = "Choose your next step. Tools:\n{tools}\n- answer: everything needed is known; write the answer."
_FILL = "Give the arguments of {tool} as one JSON object: what the user said and nothing more."


Said = Callable[[str], None] | None
"""Hears a text piece by piece while it is written."""


class Form(Enum):
    """How a model is offered tools, the best first."""

    STRICT = "tools, the arguments held to their schema"
    TOOLS = "tools"
    CHOICE = "structured output"


class Asking:
    """Asks one model.

    Args:
        chat: langchain-openai's client.
        tools: what the model may call.
    """

    def __init__(self, chat: Any, tools: Sequence[BaseTool]) -> None:
        self._chat, self._tools = chat, {tool.name: tool for tool in tools}
        self._limit = _LIMIT

    def tools_tokens(self, form: Form) -> int:
        """Estimate how many tokens the tools take."""
        if form is Form.CHOICE:
            longest = max((weight(json.dumps(arguments_of(tool))) for tool in self._tools.values()), default=0)
            return round(weight(described(list(self._tools.values()))) + longest)
        return round(weight(json.dumps([offered(tool) for tool in self._tools.values()])))

    async def ask(self, prompt: list[AnyMessage], form: Form | None, tokens: int, said: Said = None) -> AIMessage:
        """Ask for the next message in a form; errors are those of the ``openai`` package.

        Args:
            prompt: the conversation.
            form: how the tools are offered; None offers none.
            tokens: how long the message may be, what is thought before it included.
            said: hears the message's text as it is written.
        """
        if form is None:
            return await self._written(in_plain_words(prompt), tokens, said)
        if form is not Form.CHOICE:
            strict = form is Form.STRICT
            forms = [offered(tool, strict=strict) for tool in self._tools.values()]
            return await self._written(prompt, tokens, said, tools=forms)
        return await self._by_choice(in_plain_words(prompt), tokens, said)

    def limits_otherwise(self, error: APIStatusError) -> bool:
        """Whether an endpoint refused the limit by the name it had, and knows another: OpenAI's thinking models do."""
        refused = self._limit != _NEWER_LIMIT and error.status_code == 400 and _NEWER_LIMIT in _said(error)
        self._limit = _NEWER_LIMIT if refused else self._limit
        return refused

    async def _written(self, prompt: list[AnyMessage], tokens: int, said: Said = None, **more: Any) -> AIMessage:
        body = {self._limit: tokens, **more.pop("extra_body", {})}
        return await gathered(self._chat.astream(prompt, extra_body=body, **more), tokens, said)

    async def _by_choice(self, prompt: list[AnyMessage], tokens: int, said: Said) -> AIMessage:
        """Ask first which tool, then for its arguments; or for the answer."""
        listed = HumanMessage(_CHOOSE.format(tools=described(list(self._tools.values()))))
        chosen = await self._object([*prompt, listed], next_step(list(self._tools.values())), tokens)
        tool = self._tools.get(str(chosen.get("next")))
        if tool is None or chosen.get("next") == ANSWER:
            return await self._written(prompt, tokens, said)
        asked = [*prompt, HumanMessage(_FILL.format(tool=tool.name))]
        arguments = await self._object(asked, arguments_of(tool), tokens)
        call: Any = {"name": tool.name, "args": arguments, "id": call_id(), "type": "tool_call"}
        return AIMessage(content="", tool_calls=[call], response_metadata={"finish_reason": "tool_calls"})

    async def _object(self, prompt: list[AnyMessage], schema: dict[str, Any], tokens: int) -> dict[str, Any]:
        """Ask for an object of a schema.

        Raises:
            ValueError: what came is none.
        """
        form = {"type": "json_schema", "json_schema": {"name": "step", "schema": schema}}
        answer = await self._written(prompt, tokens, extra_body={"response_format": form})
        found, why = object_in(answer.text.rpartition("</think>")[2])
        if found is None:
            raise ValueError(why)
        return found


def in_plain_words(prompt: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Write calls and their results as plain messages, for a chat template that knows no tools."""
    plain: list[AnyMessage] = []
    for message in prompt:
        if isinstance(message, ToolMessage):
            plain.append(HumanMessage(f"Result of {message.name}:\n{message.text}"))
        elif isinstance(message, AIMessage) and message.tool_calls:
            names = ", ".join(call["name"] for call in message.tool_calls)
            plain.append(AIMessage(f"I call {names}."))
        else:
            plain.append(message)
    return plain


def refused_context(error: APIStatusError, known: int) -> int | None:
    """Return the context that a refusal names, or a smaller one to try; None where it refused something else."""
    said = _said(error)
    if error.status_code not in {400, 413, 422} or not _TOO_LONG.search(said):
        return None
    named = _LENGTH.search(said)
    context = int(named[1]) if named else 0
    smaller = context if 0 < context < known else known * 3 // 4
    return smaller if smaller >= _SMALLEST_CONTEXT else None


def next_form(error: APIStatusError, form: Form) -> Form | None:
    """Return the form to ask in where one was refused; None where there is none, or it was not the form."""
    of_tools = error.status_code in {404, 500} and "tool" in _said(error)
    if error.status_code not in {400, 422, 501} and not of_tools:
        return None
    forms = list(Form)
    at = forms.index(form) + 1
    return forms[at] if at < len(forms) else None


def _said(error: APIStatusError) -> str:
    return f"{error.message} {error.body}"[:_SAID_CHARS]

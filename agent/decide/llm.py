"""A language model decides and writes, over any OpenAI-compatible endpoint; the rules finish what it can't.

It sees the same messages and calls the same tools as the rules do. Its text is grounded afterwards like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool

from agent.decide.rules import RulesDecider
from agent.logs import without_log
from agent.rigs import current_rig
from agent.state import State, this_turn
from tools.errors import ModelUnavailable
from tools.settings import Settings

MAX_ROUNDS = 5
"""Tool rounds a model may take in one turn; then the rules finish."""
TIMEOUT_S = 60.0
HISTORY = 12
"""Earlier messages (questions and answers) a model is given."""
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_LANGUAGES = {"en": "English", "ru": "Russian"}
_REASON_CHARS = 120


class LlmDecider:
    """Asks a model for the next step.

    Args:
        settings: ``llm_url``, ``llm_model`` and the name of the variable that holds the key.
        tools: what it may call.
        rules: who goes on when the endpoint fails or the model runs in circles.
    """

    def __init__(self, settings: Settings, tools: Sequence[BaseTool], rules: RulesDecider) -> None:
        self._settings, self._tools, self._rules = settings, list(tools), rules
        self.name = settings.llm_model or "default"
        self._model: Any = None

    async def __call__(self, state: State) -> AIMessage:
        """Return the model's next message, or the rules' once it failed in this turn."""
        messages = this_turn(state)
        if any(m.additional_kwargs.get("fallback") for m in messages if isinstance(m, AIMessage)):
            return await self._by_rules(state, _notices(messages))
        if _in_circles(messages):
            return await self._by_rules(state, [{"code": "errors_agent.llm_steps", "params": {}}])
        try:
            answer = await self._ask(state)
        except ModelUnavailable as error:
            params = {key: str(value) for key, value in error.params.items()}
            return await self._by_rules(state, [{"code": error.code, "params": params}])
        text = _THINKING.sub("", answer.text).strip()
        if not answer.tool_calls and not text:
            return await self._by_rules(state, [])
        return AIMessage(
            content="" if answer.tool_calls else text,
            tool_calls=answer.tool_calls,
            additional_kwargs={"llm": self.name},
        )

    async def _by_rules(self, state: State, notices: list[dict[str, Any]]) -> AIMessage:
        message = await self._rules(state)
        return message.model_copy(update={"additional_kwargs": {"fallback": True, "notices": notices}})

    async def _ask(self, state: State) -> AIMessage:
        """Ask the endpoint.

        Raises:
            ModelUnavailable: it can't be reached, refused, or answered something that is no chat completion.
        """
        import httpx
        from openai import OpenAIError

        try:
            return await self._bound().ainvoke(self._prompt(state))
        except (OpenAIError, httpx.HTTPError, OSError) as error:
            reason = type(error).__name__
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            reason = f"unreadable answer, {type(error).__name__}"
        raise ModelUnavailable(
            "errors_agent.llm_unavailable", url=_address(self._settings.llm_url), reason=reason[:_REASON_CHARS]
        )

    def _bound(self) -> Any:
        if self._model is None:
            from langchain_openai import ChatOpenAI
            from pydantic import SecretStr

            self._model = ChatOpenAI(
                model=self.name,
                base_url=self._settings.llm_url,
                api_key=SecretStr(self._settings.llm_key() or "none"),
                temperature=0,
                streaming=True,
                stream_usage=False,
                timeout=TIMEOUT_S,
                max_retries=1,
            ).bind_tools(self._tools)
        return self._model

    def _prompt(self, state: State) -> list[AnyMessage]:
        """Give the rules of the house, the reading as a hint, earlier questions and answers, and this turn so far."""
        template = (resources.files("prompts") / "llm" / "system.md").read_text(encoding="utf-8")
        reading = state.get("reading", {})
        rig = current_rig(state)
        system = template.format(
            language=_LANGUAGES.get(reading.get("language", "en"), "English"),
            reading=json.dumps({k: v for k, v in reading.items() if v not in (None, [], False)}, ensure_ascii=False),
            rig=json.dumps([g.get("name") for g in rig.get("gpus", [])]) if rig else "none",
        )
        turn = this_turn(state)
        before = state.get("messages", [])[: len(state.get("messages", [])) - len(turn)]
        spoken = [_shortened(m) for m in _spoken(before)[-HISTORY:]]
        return [SystemMessage(system), *spoken, *_complete(turn)]


def _address(url: str | None) -> str:
    """Return an endpoint's address without credentials."""
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _spoken(messages: Iterable[AnyMessage]) -> list[AnyMessage]:
    """Keep questions and answers; the tool calls of earlier turns are done with."""
    return [
        m for m in messages if isinstance(m, HumanMessage) or (isinstance(m, AIMessage) and m.text and not m.tool_calls)
    ]


def _shortened(message: AnyMessage) -> AnyMessage:
    """Leave a pasted log out of a question: a tool reads it."""
    return HumanMessage(without_log(message.text)) if isinstance(message, HumanMessage) else message


def _complete(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Drop calls without results: endpoints refuse them, and a turn cut off half-way leaves some."""
    done = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    kept: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            kept.append(ToolMessage(content=message.text, tool_call_id=message.tool_call_id, name=message.name))
        elif isinstance(message, AIMessage) and message.tool_calls and all(c["id"] in done for c in message.tool_calls):
            kept.append(AIMessage(content="", tool_calls=message.tool_calls))
    return kept


def _in_circles(messages: Sequence[AnyMessage]) -> bool:
    """Whether a model used up its rounds or repeats a call."""
    calls = [
        (c["name"], json.dumps(c["args"], sort_keys=True, default=str))
        for m in messages
        if isinstance(m, AIMessage)
        for c in m.tool_calls
    ]
    rounds = sum(1 for m in messages if isinstance(m, AIMessage) and m.tool_calls)
    return rounds >= MAX_ROUNDS or len(calls) != len(set(calls))


def _notices(messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
    for message in messages:
        if isinstance(message, AIMessage) and message.additional_kwargs.get("notices"):
            return list(message.additional_kwargs["notices"])
    return []

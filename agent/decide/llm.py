"""A language model decides and writes, over any OpenAI-compatible endpoint; the rules finish what it can't.

It sees the same messages and calls the same tools as the rules do. Its text is grounded afterwards like any other.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from importlib import resources
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_stream_writer

from agent.decide.aloud import Showing, opens_thinking
from agent.decide.asking import Said
from agent.decide.due import BY_RULES, due, without_vain
from agent.decide.heard import Heard, hear, with_reason
from agent.decide.local import endpoint_of
from agent.decide.prompt import prompt_of, size
from agent.decide.rules import RulesDecider
from agent.decide.unasked import asked_for
from agent.events import StepFinished, StepStarted
from agent.state import State, this_turn, tool_calls
from prompts import text
from tools.errors import ModelUnavailable
from tools.settings import Settings

MAX_ROUNDS = 5
"""Tool rounds a model may take in one turn; then the rules finish."""
REWRITE_S = 30.0
"""How long a sentence that is written again is waited for; after that it is rendered."""
_WAIT = "wait_for_model"


class LlmDecider:
    """Asks a model for the next step.

    Args:
        settings: ``llm_url``, ``llm_model``, ``llm_max_tokens`` and the name of the variable that holds the key.
        tools: what it may call.
        rules: who goes on when the endpoint fails or the model runs in circles.
    """

    def __init__(self, settings: Settings, tools: Sequence[BaseTool], rules: RulesDecider) -> None:
        self._endpoint, self._rules = endpoint_of(settings, tools), rules
        self._tools, self._max_tokens = frozenset(tool.name for tool in tools), settings.llm_max_tokens
        self._thinks: bool | None = None

    @property
    def name(self) -> str:
        """The model's name; that of its endpoint until the endpoint has told it."""
        return self._endpoint.model or "default"

    async def __call__(self, state: State) -> AIMessage:
        """Return the model's next message, or the rules' once it failed in this turn."""
        messages = this_turn(state)
        if any(m.additional_kwargs.get("fallback") for m in messages if isinstance(m, AIMessage)):
            return await self._by_rules(state, _notices(messages))
        if _in_circles(messages):
            return await self._by_rules(state, [{"code": "errors_agent.llm_steps", "params": {}}])
        showing = Showing(state, thinks=self._thinks)
        message = await self._next(state, showing)
        return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, "shown": showing.shown}})

    async def rewrite(self, state: State, piece: str, wrong: tuple[str, ...]) -> str | None:
        """Return a piece of the answer written again without figures that are wrong; None where the model is gone."""
        words = (resources.files("prompts") / "llm" / "rewrite.md").read_text(encoding="utf-8")
        asked = HumanMessage(words.format(wrong=", ".join(wrong), piece=piece))

        def prompt(tokens: int) -> list[AnyMessage]:
            return [*prompt_of(state, tokens - size([asked])), asked]

        try:
            async with asyncio.timeout(REWRITE_S):
                answer = await self._endpoint.ask(prompt, waiting=_not_now, tools=False)
        except (ModelUnavailable, TimeoutError):
            return None
        heard = hear(answer, self._tools)
        return "" if heard.is_cut or heard.calls else heard.words

    async def _next(self, state: State, showing: Showing) -> AIMessage:
        """Ask for the next message and show of it what can be shown while it is written."""
        try:
            heard = await self._heard(state, showing)
        except ModelUnavailable as error:
            params = {key: str(value) for key, value in error.params.items()}
            return await self._by_rules(state, [{"code": error.code, "params": params}])
        wanted, unasked = asked_for(heard.calls, state, (await due(self._rules, state)).tool_calls)
        owed = [] if wanted else await self._owed(state)
        wanted = wanted or owed
        if unasked and not (wanted or heard.words):
            params = {"model": self.name, "tools": ", ".join(unasked)}
            return await self._by_rules(state, [{"code": "errors_agent.llm_unasked", "params": params}])
        cut = {"model": self.name, "tokens": str(self._max_tokens)}
        if heard.wrong or not (wanted or heard.words):
            code = "llm_wrong_call" if heard.wrong else "llm_used_up" if heard.is_cut else "llm_empty"
            return await self._by_rules(state, [{"code": f"errors_agent.{code}", "params": cut}])
        if wanted:
            known = {"llm": self.name, BY_RULES: bool(owed)}
            return AIMessage(content="", tool_calls=wanted, additional_kwargs=known)
        notices = [{"code": "errors_agent.llm_cut", "params": cut}] if heard.is_cut else []
        return AIMessage(content=heard.words, additional_kwargs={"llm": self.name, "notices": notices})

    async def _heard(self, state: State, showing: Showing) -> Heard:
        """Ask; once more, with the reason, where what came is a call that can't be read."""
        is_awaited = self._thinks is not None and not await self._owed(state)
        answer = await self._asked(state, None, showing.hear if is_awaited else None)
        self._thinks = bool(self._thinks) or opens_thinking(answer.text)
        heard = hear(answer, self._tools)
        if heard.wrong is None:
            return heard
        return hear(await self._asked(state, heard.wrong, None), self._tools)

    async def _asked(self, state: State, wrong: tuple[str, str] | None, said: Said) -> AIMessage:
        """Ask the model; waiting until it is ready is shown as a step."""
        show, began = get_stream_writer(), time.perf_counter()
        waited: list[str] = []

        def waiting() -> None:
            waited.append(_WAIT)
            show(StepStarted(_WAIT, {}, _WAIT))

        def prompt(tokens: int) -> list[AnyMessage]:
            if wrong is None:
                return prompt_of(state, tokens)
            return with_reason(prompt_of(state, tokens - size(with_reason([], wrong))), wrong)

        ok = False
        try:
            answer = await self._endpoint.ask(prompt, waiting=waiting, said=said)
            ok = True
            return answer
        finally:
            if waited:
                language = state.get("reading", {}).get("language", "en")
                line = text(language, "agent.step_waited" if ok else "agent.step_waited_long", model=self.name)
                show(StepFinished(_WAIT, time.perf_counter() - began, ok, line, _WAIT))

    async def _owed(self, state: State) -> list[Any]:
        """Return what a question about models or cards must be answered from, where a model would answer without."""
        reading, made = state.get("reading", {}), {call["name"] for call in tool_calls(without_vain(state))}
        if not (reading.get("names_now") or reading.get("wants_search")):
            return []
        calls = (await due(self._rules, state)).tool_calls
        computed = made & {"calculate_vram", "read_engine_log"}
        return [call for call in calls if not computed or call["name"] == "search_web"]

    async def _by_rules(self, state: State, notices: list[dict[str, Any]]) -> AIMessage:
        message = await due(self._rules, state)
        return message.model_copy(update={"additional_kwargs": {"fallback": True, BY_RULES: True, "notices": notices}})


def _not_now() -> None:
    """Give up on a model that is not ready: a sentence is rendered sooner than it wakes.

    Raises:
        ModelUnavailable: always.
    """
    raise ModelUnavailable("errors_agent.llm_not_ready", url="", seconds=0)


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

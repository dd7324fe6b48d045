"""A language model decides and writes, over any OpenAI-compatible endpoint; the rules finish what it can't.

It sees the same messages and calls the same tools as the rules do. Its text is grounded afterwards like any other.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_stream_writer

from agent.decide.endpoint import Endpoint
from agent.decide.forms import calls_to_make, written_call
from agent.decide.prompt import prompt_of
from agent.decide.rules import RulesDecider
from agent.events import StepFinished, StepStarted
from agent.state import State, this_turn, tool_calls
from prompts import text
from tools.errors import ModelUnavailable
from tools.settings import Settings

MAX_ROUNDS = 5
"""Tool rounds a model may take in one turn; then the rules finish."""
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_WAIT = "wait_for_model"
_SENTENCE_END = re.compile(r"[.!?…](?=\s|$)|\n")


class LlmDecider:
    """Asks a model for the next step.

    Args:
        settings: ``llm_url``, ``llm_model`` and the name of the variable that holds the key.
        tools: what it may call.
        rules: who goes on when the endpoint fails or the model runs in circles.
    """

    def __init__(self, settings: Settings, tools: Sequence[BaseTool], rules: RulesDecider) -> None:
        self._endpoint, self._rules = Endpoint(settings, tools), rules
        self._tools = frozenset(tool.name for tool in tools)

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
        try:
            answer = await self._asked(state)
        except ModelUnavailable as error:
            params = {key: str(value) for key, value in error.params.items()}
            return await self._by_rules(state, [{"code": error.code, "params": params}])
        wanted, written = self._read(answer)
        if not wanted and (owed := await self._owed(state)):
            wanted = owed
        if not wanted and not written:
            return await self._by_rules(state, [{"code": "errors_agent.llm_empty", "params": {"model": self.name}}])
        said = "" if wanted else written
        return AIMessage(content=said, tool_calls=wanted, additional_kwargs={"llm": self.name})

    def _read(self, answer: AIMessage) -> tuple[list[Any], str]:
        """Return the calls of an answer, those in its text where a server did not find them, and its words."""
        words = said_aloud(answer.text)
        words, found = written_call(words, self._tools)
        if answer.response_metadata.get("finish_reason") == "length":
            words = whole_sentences(words)
        return calls_to_make([*answer.tool_calls, *found]), words

    async def _asked(self, state: State) -> AIMessage:
        """Ask the model; waiting until it is ready is shown as a step."""
        show, began = get_stream_writer(), time.perf_counter()
        waited: list[str] = []

        def waiting() -> None:
            waited.append(_WAIT)
            show(StepStarted(_WAIT, {}, _WAIT))

        ok = False
        try:
            answer = await self._endpoint.ask(lambda tokens: prompt_of(state, tokens), waiting=waiting)
            ok = True
            return answer
        finally:
            if waited:
                language = state.get("reading", {}).get("language", "en")
                said = text(language, "agent.step_waited" if ok else "agent.step_waited_long", model=self.name)
                show(StepFinished(_WAIT, time.perf_counter() - began, ok, said, _WAIT))

    async def _owed(self, state: State) -> list[Any]:
        """Return what a question about models or cards must be answered from, where a model would answer without."""
        reading, made = state.get("reading", {}), {call["name"] for call in tool_calls(state)}
        if not (reading.get("names_now") or reading.get("wants_search")):
            return []
        calls = (await self._rules(state)).tool_calls
        computed = made & {"calculate_vram", "read_engine_log"}
        return [call for call in calls if not computed or call["name"] == "search_web"]

    async def _by_rules(self, state: State, notices: list[dict[str, Any]]) -> AIMessage:
        message = await self._rules(state)
        return message.model_copy(update={"additional_kwargs": {"fallback": True, "notices": notices}})


def said_aloud(answer: str) -> str:
    """Return an answer without what the model thought; some templates open the thinking before the answer begins.

    >>> said_aloud("<think>2 x 57 ...</think>It fits.")
    'It fits.'
    >>> said_aloud("2 x 57 ...</think>It fits.")
    'It fits.'
    """
    return _THINKING.sub("", answer).rpartition("</think>")[2].strip()


def whole_sentences(cut_off: str) -> str:
    """Return a text that was cut off up to its last whole sentence.

    >>> whole_sentences("It fits. With 4 users it tak")
    'It fits.'
    """
    ends = [found.end() for found in _SENTENCE_END.finditer(cut_off)]
    return cut_off[: ends[-1]].strip() if ends else ""


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

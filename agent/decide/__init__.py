"""Who chooses the next step: the rules, or a language model with the rules behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agent.state import State
from tools.settings import Settings


class NamedDecider(Protocol):
    """A decider with the name that answers carry."""

    @property
    def name(self) -> str:
        """``embedded`` or the model's name."""
        ...

    async def __call__(self, state: State) -> AIMessage:
        """Return the next message: tool calls, or none when it is time to answer."""
        ...


def make_decider(settings: Settings, tools: Sequence[BaseTool]) -> NamedDecider:
    """Return the rules, or the model at ``settings.llm_url`` with the rules to fall back on."""
    from agent.decide.rules import RulesDecider

    rules = RulesDecider(frozenset(tool.name for tool in tools))
    if not settings.llm_url:
        return rules
    from agent.decide.llm import LlmDecider

    return LlmDecider(settings, tools, rules)

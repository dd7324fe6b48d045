"""Who chooses the next step: the rules, or a language model with the rules behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agent.state import State
from tools.settings import Settings


@dataclass(frozen=True, slots=True)
class ModelAt:
    """Who decides and writes instead of those of the settings.

    Attributes:
        url: of an OpenAI-compatible endpoint; empty = the rules.
        model: its name there.
        key_env: name of the environment variable that holds the endpoint's key.
    """

    url: str
    model: str | None = None
    key_env: str = Settings.__dataclass_fields__["llm_key_env"].default


class NamedDecider(Protocol):
    """A decider with the name that answers carry."""

    @property
    def name(self) -> str:
        """``embedded`` or the model's name."""
        ...

    async def __call__(self, state: State) -> AIMessage:
        """Return the next message: tool calls, or none when it is time to answer."""
        ...

    async def rewrite(self, state: State, piece: str, wrong: tuple[str, ...]) -> str | None:
        """Write a piece of the answer again without its wrong figures; None where no model can be asked."""
        ...


def make_decider(settings: Settings, tools: Sequence[BaseTool], model: ModelAt | None = None) -> NamedDecider:
    """Return the rules, or the model at ``settings.llm_url``, or that of ``model``, with the rules to fall back on."""
    from agent.decide.rules import RulesDecider

    if model is not None:
        settings = replace(settings, llm_url=model.url, llm_model=model.model, llm_key_env=model.key_env)
    rules = RulesDecider(frozenset(tool.name for tool in tools))
    if not settings.llm_url:
        return rules
    from agent.decide.llm import LlmDecider

    return LlmDecider(settings, tools, rules)

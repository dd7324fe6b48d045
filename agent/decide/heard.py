"""What a model's message comes to: the calls it makes, the words it says, and what was wrong with either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from agent.decide.forms import calls_to_make, written_calls

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?…](?=\s|$)|\n")
_QUOTED_CHARS = 1000
_WRONG = (
    "No call was made: the arguments are no JSON object ({error}). Make the whole call again, or answer without it."
)


@dataclass(frozen=True, slots=True)
class Heard:
    """A model's message, read.

    Attributes:
        calls: those that can be made.
        words: what it says to the asker, without what it thought; of an answer that was cut off whole sentences.
        is_cut: it reached the limit of its length.
        wrong: what it wrote as a call that can't be made, and why not; None where it wrote none, or was cut off in it.
    """

    calls: tuple[Any, ...]
    words: str
    is_cut: bool = False
    wrong: tuple[str, str] | None = None


def hear(message: AIMessage, tools: frozenset[str]) -> Heard:
    """Read a message.

    Args:
        message: as it came; calls that the server left in its text count too.
        tools: names of what may be called.
    """
    words, written, unreadable = written_calls(said_aloud(message.text), tools)
    cut = message.response_metadata.get("finish_reason") == "length"
    calls = calls_to_make([*message.tool_calls, *written])
    wrong = [] if cut or calls else [*message.invalid_tool_calls, *unreadable]
    first = (f"{wrong[0]['name']} {wrong[0]['args']}".strip(), str(wrong[0]["error"])) if wrong else None
    return Heard(tuple(calls), whole_sentences(words) if cut else words, cut, first)


def with_reason(prompt: list[AnyMessage], wrong: tuple[str, str]) -> list[AnyMessage]:
    """Return a prompt that goes on with a call that could not be made and says why."""
    written, error = wrong
    return [*prompt, AIMessage(written[:_QUOTED_CHARS]), HumanMessage(_WRONG.format(error=error[:_QUOTED_CHARS]))]


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

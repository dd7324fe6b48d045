"""What a model says aloud in a text that is still being written: neither what it thinks nor the calls it makes."""

from __future__ import annotations

from langgraph.config import get_stream_writer

from agent.events import AnswerText
from agent.grounding import Release
from agent.state import State, shown_before

_OPENS, _CLOSES, _CALL = "<think>", "</think>", "<tool_call>"


class Aloud:
    """Hears a text piece by piece.

    Args:
        thinks: the text begins with what is thought, as it does after templates that open the thinking themselves.
    """

    def __init__(self, *, thinks: bool = False) -> None:
        self._thinks, self._calls, self._tail = thinks, False, ""

    def hear(self, more: str) -> str:
        """Take what was written since and return what of it is said aloud, as far as that is certain.

        >>> aloud = Aloud()
        >>> [aloud.hear(piece) for piece in ("It <thi", "nk>2 x 57</th", "ink>fits", ". <tool", "_call>{}")]
        ['It ', '', 'fits', '. ', '']
        """
        self._tail += more
        said = ""
        while True:
            plain, tag, self._tail = _to_tag(self._tail, (_CLOSES,) if self._thinks else (_OPENS, _CALL))
            said += "" if self._thinks or self._calls else plain
            self._thinks, self._calls = tag == _OPENS or (self._thinks and not tag), self._calls or tag == _CALL
            if not tag:
                return said


class Showing:
    """Shows a model's text while it is written: what is said aloud, as far as every figure in it has a source.

    Args:
        state: the conversation.
        thinks: as of ``Aloud``.
    """

    def __init__(self, state: State, *, thinks: bool | None) -> None:
        self._state, self._thinks = state, bool(thinks)
        self._release: Release | None = None
        self._aloud = Aloud(thinks=self._thinks)

    @property
    def shown(self) -> str:
        """All that the asker has seen of it."""
        return self._release.shown if self._release else ""

    def hear(self, more: str) -> None:
        """Take what was written since and show what can be shown."""
        said = self._aloud.hear(more)
        if not said:
            return
        if self._release is None:
            self._release = Release(self._state)
        first = not self._release.shown
        shown = self._release.hear(said)
        if shown:
            before = "\n\n" if first and shown_before(self._state) else ""
            get_stream_writer()(AnswerText(before + shown))


def opens_thinking(text: str) -> bool:
    """Whether the thinking in a whole answer was opened before the answer began."""
    closed = text.find(_CLOSES)
    return closed >= 0 and not 0 <= text.find(_OPENS) < closed


def _to_tag(text: str, tags: tuple[str, ...]) -> tuple[str, str, str]:
    """Split at the first of some tags: what is before it, the tag, the rest; what may begin a tag is kept as rest."""
    places = [(at, tag) for tag in tags for at in [text.find(tag)] if at >= 0]
    if places:
        at, tag = min(places)
        return text[:at], tag, text[at + len(tag) :]
    begun = max(length for tag in tags for length in range(len(tag)) if text.endswith(tag[:length]))
    end = len(text) - begun
    return text[:end], "", text[end:]

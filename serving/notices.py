"""What whoever runs the gateway is told, one sentence a time."""

from __future__ import annotations

from collections.abc import Callable

from prompts import text
from serving.errors import shown
from serving.upstreams import Engine

Say = Callable[[str], None]
_NAMES_SHOWN = 5


class Notices:
    """Sentences about engines.

    Args:
        language: of the sentences.
        say: takes each.
    """

    def __init__(self, language: str, say: Say) -> None:
        self._language = language
        self._say = say

    def sleepless(self, engine: Engine) -> None:
        """An engine that is to take turns has no sleep mode."""
        self._tell("serving.sleepless", engine)

    def restarts(self, engine: Engine) -> None:
        """An engine that takes turns has no sleep mode, so its process is stopped and started."""
        self._tell("serving.restarts", engine)

    def misnamed(self, engine: Engine, name: str, listed: tuple[str, ...]) -> None:
        """An engine does not know the name that it is to answer for, but those that it lists."""
        names = ", ".join(map(shown, listed[:_NAMES_SHOWN]))
        self._say(text(self._language, "serving.misnamed", model=name, url=engine.url, names=names))

    def health(self, engine: Engine) -> None:
        """An engine answers, or does so no longer."""
        self._tell("serving.engine_answers" if engine.healthy else "serving.engine_silent", engine)

    def _tell(self, code: str, engine: Engine) -> None:
        self._say(text(self._language, code, model=engine.models[0], url=engine.url))

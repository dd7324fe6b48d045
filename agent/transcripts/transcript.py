"""A conversation as it is handed from one program to another: who said what and when, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from tools.errors import BadValue

Role = Literal["user", "agent"]

MAX_BYTES = 4_000_000
"""Largest file that is read, in bytes: some thousand pages."""
MAX_MESSAGES = 2000
"""Most messages of a file that is read."""
_TITLE_CHARS = 120
_UID = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


@dataclass(frozen=True, slots=True)
class Said:
    """One message.

    Attributes:
        role: who said it.
        text: Markdown, without blank lines around it.
        at: ISO date and time without a zone, as in the file it came from; other words where its date can be read in two
            ways; empty where none is known.
        uid: unique within the conversation.
    """

    role: Role
    text: str
    at: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation.

    Attributes:
        messages: oldest first.
        title: one line; empty where there is none.
        language: ``en``, ``ru`` or empty.
        model: who wrote the answers, ``embedded`` for the built-in rules; empty where unknown.
    """

    messages: tuple[Said, ...]
    title: str = ""
    language: str = ""
    model: str = ""

    @property
    def created(self) -> str:
        """When the first message was said; empty where unknown."""
        return next((said.at for said in self.messages if said.at), "")

    @property
    def updated(self) -> str:
        """When the last message was said; empty where unknown."""
        return next((said.at for said in reversed(self.messages) if said.at), "")


def plain(text: str) -> str:
    """Drop control characters except line breaks and tabs, lone surrogates, and blank lines around the text."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(c for c in text if c in "\n\t" or ((c.isprintable() or c.isspace() or ord(c) > 0x9F) and c >= " "))
    lines = kept.encode("utf-8", "ignore").decode("utf-8").split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join(lines)


def one_line(text: object, limit: int = _TITLE_CHARS) -> str:
    """Return text as one line of printable characters."""
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:limit].strip()


def tidied(transcript: Transcript) -> Transcript:
    """Return the transcript with its texts plain, without empty messages, and with an identifier each.

    Raises:
        BadValue: it has no message, or more than ``MAX_MESSAGES``.
    """
    said = [replace(one, text=plain(one.text), at=one_line(one.at, 40)) for one in transcript.messages]
    said = [one for one in said if one.text]
    if not said:
        raise BadValue("transcripts.nothing_said")
    if len(said) > MAX_MESSAGES:
        raise BadValue("transcripts.too_many", count=len(said), limit=MAX_MESSAGES)
    return Transcript(
        tuple(_identified(said)),
        one_line(transcript.title),
        transcript.language if transcript.language in {"en", "ru"} else "",
        one_line(transcript.model),
    )


def _identified(said: Iterable[Said]) -> Iterable[Said]:
    """Give a message that has no identifier, or another's, one of its own that the same file gives again."""
    taken: set[str] = set()
    for number, one in enumerate(said):
        uid = one.uid
        if uid in taken or not _UID.fullmatch(uid):
            uid = str(uuid5(NAMESPACE_URL, f"{number} {one.role} {one.text}"))
        taken.add(uid)
        yield replace(one, uid=uid)

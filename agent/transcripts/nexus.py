"""Transcripts as Markdown with callouts, as the Nexus AI Chat Importer of Obsidian writes them.

::

    ---
    nexus: rigfit
    title: "Two Qwen3-30B"
    ---

    >[!nexus_user] **User** - 2026-11-23 at 21:13:21
    > Will two Qwen3-30B fit?
    <!-- UID: 7c4f… -->

Source: https://github.com/Superkikim/nexus-ai-chat-importer, files made by its versions 1.2 to 1.6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.transcripts.dates import days_come_first, read_date, write_date
from agent.transcripts.transcript import Role, Said, Transcript, one_line, plain, tidied

_NAMES: dict[Role, str] = {"user": "User", "agent": "Assistant"}
ROLES: Mapping[str, Role] = {
    "user": "user", "human": "user", "agent": "agent", "assistant": "agent", "ai": "agent", "bot": "agent",
    "model": "agent",
}  # fmt: skip
"""Who speaks, by the words that programs have for it; others are left out."""
_HEADER = re.compile(r"[ \t]{0,3}>[ \t]{0,8}\[!\s?nexus[_ -]([a-z]{1,20})\s?\][+-]?(.{0,300})", re.IGNORECASE)
_SAID_AT = re.compile(r"\s*(?:(?:\*\*|__)([^*_]{0,80})(?:\*\*|__))?\s*(?:[-–—:|]\s*)?(.{0,80})")
_UID = re.compile(r"[ \t]{0,8}<!--\s{0,4}UID:\s{0,4}(\S{0,100}?)\s{0,4}-->\s*", re.IGNORECASE)
_QUOTE = re.compile(r"[ \t]{0,3}>[ ]?")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})")
_SHIELD = re.compile(r"^([ \t]{0,8})(\\*\[!\s?nexus[_ -])", re.IGNORECASE | re.MULTILINE)
_SHIELDED = re.compile(r"^([ \t]{0,8})\\(\\*\[!\s?nexus[_ -])", re.IGNORECASE | re.MULTILINE)
_FRONT = re.compile(r"\s{0,20}---[ \t]*\n(.{0,16000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^#[ \t]+(?:Title:[ \t]*)?(.{1,300})$", re.MULTILINE)


def to_markdown(transcript: Transcript) -> str:
    """Write a transcript; what a message says can neither end its quote nor begin another message."""
    known = {
        "nexus": "rigfit",
        "title": transcript.title,
        "create_time": transcript.created,
        "update_time": transcript.updated,
        "language": transcript.language,
        "model": transcript.model,
    }
    front = [f"{name}: {json.dumps(one_line(value), ensure_ascii=False)}" for name, value in known.items() if value]
    blocks = ["\n".join(["---", *front, "---"]), *(_block(said) for said in transcript.messages)]
    return "\n\n".join(blocks) + "\n"


def _block(said: Said) -> str:
    when = f" - {write_date(said.at)}" if said.at else ""
    body = _SHIELD.sub(r"\1\\\2", plain(said.text)).split("\n")
    lines = [f">[!nexus_{said.role}] **{_NAMES[said.role]}**{when}", *(f"> {line}" for line in body)]
    return "\n".join([*lines, *([f"<!-- UID: {said.uid} -->"] if said.uid else [])])


@dataclass(slots=True)
class _Open:
    """A message that is being read."""

    role: Role | None
    when: str
    lines: list[str] = field(default_factory=list[str])
    uid: str = ""
    fence: str = ""
    closed: bool = False


def from_markdown(text: str) -> Transcript:
    """Read a transcript, also one that another program wrote or a person edited.

    Raises:
        BadValue: it has no message of a user or an agent, or too many.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    front = _FRONT.match(text)
    known = _front_matter(front[1]) if front else {}
    body = text[front.end() :] if front else text
    opened = _opened(body.split("\n"))
    heading = _TITLE.search(body.partition("[!nexus")[0])
    title = known.get("title") or known.get("aliases") or (heading[1] if heading else "")
    order = days_come_first(one.when for one in opened)
    said = [
        Said(one.role, _SHIELDED.sub(r"\1\2", "\n".join(one.lines)), read_date(one.when, day_first=order), one.uid)
        for one in opened
        if one.role
    ]
    return tidied(Transcript(tuple(said), title, known.get("language", ""), known.get("model", "")))


def _opened(lines: list[str]) -> list[_Open]:
    found: list[_Open] = []
    quoted = False
    for line in lines:
        current = found[-1] if found else None
        header = _HEADER.fullmatch(line) if not (current and current.fence and quoted) else None
        if header:
            when = _SAID_AT.fullmatch(header[2])
            found.append(_Open(ROLES.get(header[1].lower()), when[2].strip() if when else ""))
            quoted = True
        elif current:
            quoted = _continue(current, line, quoted)
    return found


def _continue(current: _Open, line: str, quoted: bool) -> bool:
    """Add a line to a message; returns whether the line was part of its quote."""
    uid = None if current.fence and line.lstrip().startswith(">") else _UID.fullmatch(line)
    if uid:
        current.uid, current.closed, current.fence = current.uid or uid[1], True, ""
        return False
    quote = _QUOTE.match(line)
    if current.closed or not line.strip():
        return False
    if quote:
        inner = line[quote.end() :]
        fence = _FENCE.match(inner)
        if fence:
            current.fence = _fence_after(current.fence, fence[1], inner)
        current.lines.append(inner)
        return True
    lazy = quoted and not line.lstrip().startswith(("---", "<!--", "#", "***", "___"))
    if lazy:  # Markdown counts it to the quote's paragraph
        current.lines.append(line)
    return lazy


def _fence_after(fence: str, marks: str, line: str) -> str:
    """Return the fence that is open after a line of marks."""
    if not fence:
        return marks
    closes = marks[0] == fence[0] and len(marks) >= len(fence) and line.strip() == marks
    return "" if closes else fence


def _front_matter(text: str) -> dict[str, str]:
    """Read front matter as words: no types, no tags, no nesting; what is no YAML is left unread."""
    import yaml

    try:
        found = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes nothing but words, lists and tables
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name).lower(): one_line(value) for name, value in found.items() if isinstance(value, str)}

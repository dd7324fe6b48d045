"""Transcripts as JSON: one object with its format's name and version, described in ``docs/transcripts.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.transcripts.dates import days_come_first, read_date
from agent.transcripts.nexus import ROLES
from agent.transcripts.transcript import Said, Transcript, tidied
from tools.errors import BadValue

FORMAT = "rigfit-transcript"
VERSION = 1


def to_json(transcript: Transcript) -> str:
    """Write a transcript."""
    value = {
        "format": FORMAT,
        "version": VERSION,
        "title": transcript.title,
        "created": transcript.created,
        "updated": transcript.updated,
        "language": transcript.language,
        "model": transcript.model,
        "messages": [
            {"role": said.role, "at": said.at, "uid": said.uid, "text": said.text} for said in transcript.messages
        ],
    }
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def from_json(text: str) -> Transcript:
    """Read a transcript: Rigfit's own, or a list of messages with ``role`` and ``content``.

    Raises:
        BadValue: it is no JSON, of a later version, or has no message of a user or an agent.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadValue("transcripts.not_json") from error
    whole: Mapping[str, Any] = value if isinstance(value, dict) else {"messages": value}
    version = whole.get("version", VERSION)
    if whole.get("format") == FORMAT and version != VERSION:
        raise BadValue("transcripts.other_version", version=str(version)[:20], known=VERSION)
    rows = whole.get("messages")
    said = [one for row in rows if (one := _said(row))] if isinstance(rows, list) else []
    order = days_come_first(one.at for one in said)
    dated = (Said(one.role, one.text, read_date(one.at, day_first=order), one.uid) for one in said)
    return tidied(Transcript(tuple(dated), _word(whole, "title"), _word(whole, "language"), _word(whole, "model")))


def _said(row: Any) -> Said | None:
    """Read one message; None for a system's or a tool's, and for what is none."""
    role = ROLES.get(_word(row, "role").lower()) if isinstance(row, dict) else None
    if role is None:
        return None
    return Said(role, _word(row, "text") or _content(row.get("content")), _word(row, "at"), _word(row, "uid"))


def _content(value: Any) -> str:
    """Return a message's text: a string, or the text parts of a list of parts."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        return "\n\n".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _word(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""

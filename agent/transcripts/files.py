"""Transcript files: read from bytes of any kind, written under a safe name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from agent.transcripts import as_json, nexus
from agent.transcripts.mojibake import decode
from agent.transcripts.transcript import MAX_BYTES, Transcript
from tools.domain import Note
from tools.errors import BadValue

Kind = Literal["md", "json"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was read.

    Attributes:
        transcript: the conversation in it.
        notes: what was changed on the way, to be told.
    """

    transcript: Transcript
    notes: tuple[Note, ...] = ()


def read_transcript(data: bytes) -> Imported:
    """Read a file, Markdown or JSON by its content, damaged or not.

    Raises:
        BadValue: it is larger than ``MAX_BYTES``, or no transcript.
    """
    if len(data) > MAX_BYTES:
        raise BadValue("transcripts.too_large", size=len(data) / 1e6, limit=MAX_BYTES / 1e6)
    mended = decode(data)
    text = mended.text.lstrip("\ufeff")
    is_json = text.lstrip()[:1] in {"{", "["}
    transcript = as_json.from_json(text) if is_json else nexus.from_markdown(text)
    notes: list[Note] = []
    if mended.read_as:
        notes.append(Note("transcripts.mended", {"encodings": ", ".join(mended.read_as)}))
    return Imported(transcript, tuple(notes))


def write_transcript(transcript: Transcript, kind: Kind) -> str:
    """Return a transcript as the text of a file."""
    return nexus.to_markdown(transcript) if kind == "md" else as_json.to_json(transcript)


def file_name(transcript: Transcript, kind: Kind) -> str:
    """Return a name that every file system takes."""
    words = re.sub(r"[^\w.-]+", "-", transcript.title, flags=re.UNICODE).strip("-.")[:60].strip("-.")
    return f"{words or 'rigfit'}.{kind}"

"""Between a stored thread and a transcript: what is handed out, and what an imported conversation may be.

The asker's words of a file are read like words typed here, and nothing more comes of them. The answers of a file are
shown as such, without links and pictures; no figure of theirs supports another, and a model that answers next is not
given them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from agent.grounding.links import Links
from agent.grounding.pieces import pieces
from agent.state import State, TurnRecord
from agent.transcripts.transcript import Said, Transcript, one_line, tidied
from prompts import text as say
from tools.logs.paste import excerpt

_TITLE_CHARS = 80
_ADDRESS = re.compile(r"(?<=:)(?=//)")
"""Where an address becomes a link by itself."""
_FENCE = re.compile(r" {0,3}(?:```|~~~)")


def now() -> str:
    """Return the time as messages carry it: ISO in UTC, to the second, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def transcript_of(values: Mapping[str, Any]) -> Transcript:
    """Return what was said in a thread.

    Args:
        values: the thread's state.

    Raises:
        BadValue: nothing was said in it.
    """
    spoken = [m for m in values.get("messages", []) if _is_said(m)]
    said = tuple(
        Said(
            "user" if isinstance(m, HumanMessage) else "agent",
            m.text,
            str(m.additional_kwargs.get("at", "")),
            str(m.id or ""),
        )
        for m in spoken
    )
    records = values.get("records") or [{}]
    return tidied(Transcript(said, title_of(spoken), str(records[-1].get("language", "")), _model(spoken)))


def _is_said(message: AnyMessage) -> bool:
    answered = isinstance(message, AIMessage) and bool(message.text) and not message.tool_calls
    return answered or isinstance(message, HumanMessage)


def title_of(spoken: Sequence[AnyMessage]) -> str:
    """Return a conversation's title: that of its file, else the asker's first words."""
    given = str(spoken[0].additional_kwargs.get("title", "")) if spoken else ""
    first = next((m.text for m in spoken if isinstance(m, HumanMessage)), "")
    return given or one_line(first, _TITLE_CHARS)


def _model(spoken: Sequence[AnyMessage]) -> str:
    """Return who wrote the last answer whose writer is known."""
    writers = (m.additional_kwargs.get("llm") for m in reversed(spoken) if isinstance(m, AIMessage))
    return str(next((name for name in writers if name), ""))


def state_of(transcript: Transcript, *, longest: int) -> State:
    """Return the state of a thread in which a transcript was said.

    Args:
        transcript: the conversation.
        longest: longest message of the asker's that is read, in characters; of a longer one its telling lines stay.
    """
    messages = [_message(said, transcript.model, longest) for said in transcript.messages]
    if transcript.title:
        messages[0].additional_kwargs["title"] = transcript.title
    records = _records(messages, transcript.language)
    return {
        "messages": messages,
        "turns": [m.text for m in messages if isinstance(m, HumanMessage)],
        "records": records,
        "language_hint": records[-1]["language"],
        "result": {},
    }


def _message(said: Said, model: str, longest: int) -> AnyMessage:
    if said.role == "agent":
        known = {"at": said.at, "llm": model, "imported": True}
        return AIMessage(content=said.text, id=said.uid, additional_kwargs=known)
    words = said.text
    if len(words) > longest:
        words = (excerpt(words, longest) or words)[:longest]
    return HumanMessage(content=words, id=said.uid, additional_kwargs={"at": said.at})


def _records(messages: Sequence[AnyMessage], language: str) -> list[TurnRecord]:
    """Return the turns as they are shown: what the asker said, and the answers up to what was said next."""
    turns: list[tuple[str, list[str]]] = []
    for message in messages:
        if isinstance(message, HumanMessage):
            turns.append((message.text, []))
        else:
            turns = turns or [("", [])]
            turns[-1][1].append(message.text)
    return [_record(user, answers, language or _language(user)) for user, answers in turns]


def _record(user: str, answers: Sequence[str], language: str) -> TurnRecord:
    told = f"*{say(language, 'transcripts.from_file')}*"
    shown = "\n\n".join([told, *(harmless(one, language) for one in answers)]) if answers else ""
    return {"user": user, "answer": shown, "language": language, "steps": [], "plan": None, "files": []}


def _language(words: str) -> str:
    return "ru" if re.search("[а-яё]", words, re.IGNORECASE) else "en"


def harmless(markdown: str, language: str) -> str:
    r"""Return a foreign answer as any other is shown: no picture, no link, no HTML; no address was a search hit here.

    Addresses of this machine, which that filter leaves, are plain text outside of fenced code.

    >>> harmless("![x](http://e.org) <img src=x>", "en")
    'x &lt;img src=x>'
    """
    links = Links(frozenset(), language)
    return "".join(_inert(links.clean(piece)) for piece in pieces(markdown))


def _inert(piece: str) -> str:
    return piece if _FENCE.match(piece) else _ADDRESS.sub(r"\\", piece)

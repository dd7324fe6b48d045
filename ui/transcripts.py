"""The two buttons of the page that save the conversation as a file and open one from a file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gradio as gr

from agent.transcripts.files import file_name, read_transcript, write_transcript
from agent.transcripts.transcript import MAX_BYTES
from prompts import text
from tools.errors import BadValue, RigfitError
from tools.settings import Settings
from ui.assistants import AssistantKeeper
from ui.output import log_failure, say, sentence

if TYPE_CHECKING:
    from ui.conversation import Shown

SAVE_JS = "(file) => window.rigfit.save(file)"
"""Hands the browser the file that ``saved`` returned."""
OPENED_JS = "(memory) => window.rigfit.remember(memory)"
"""Makes the conversation that ``opened`` began the browser's own."""


class Transcripts:
    """What the buttons do.

    Args:
        keeper: hands out the assistant.
        settings: where the log is written.
    """

    def __init__(self, keeper: AssistantKeeper, settings: Settings) -> None:
        self._keeper, self._settings = keeper, settings

    async def saved(self, shown: Shown) -> str:
        """Return the shown conversation as ``{"name", "text"}`` in JSON; empty where nothing was said."""
        try:
            transcript = await (await self._keeper.get()).transcript(shown.thread)
        except Exception as error:  # noqa: BLE001 - the edge: one sentence, and the page stays usable
            self._tell(error, shown.language)
            return ""
        return json.dumps({"name": file_name(transcript, "md"), "text": write_transcript(transcript, "md")})

    async def opened(self, path: Any, shown: Shown) -> str:
        """Begin a conversation from an uploaded file.

        Returns:
            What the browser is to remember, in JSON; empty where the file is no transcript.
        """
        try:
            imported = await asyncio.to_thread(_read, str(path))
            thread = uuid4().hex
            await (await self._keeper.get()).adopt(imported.transcript, thread_id=thread)
        except Exception as error:  # noqa: BLE001 - the edge: one sentence, and the page stays usable
            self._tell(error, shown.language)
            return ""
        counted = text(shown.language, "transcripts.imported", count=len(imported.transcript.messages))
        gr.Info(" ".join([*(say(shown.language, note) for note in imported.notes), counted]))
        return json.dumps({"thread": thread, "language": shown.language})

    def _tell(self, error: Exception, language: str) -> None:
        """Show what went wrong in one sentence."""
        if isinstance(error, RigfitError):
            gr.Warning(sentence(language, error))
        else:
            gr.Warning(text(language, "errors_ui.failed", log=log_failure(error, self._settings)))


def _read(path: str) -> Any:
    """Read an uploaded file and delete it."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            return read_transcript(stream.read(MAX_BYTES + 1))
    except OSError as error:
        raise BadValue("errors_ui.cannot_read", path=file.name, reason=error.strerror or "") from error
    finally:
        file.unlink(missing_ok=True)

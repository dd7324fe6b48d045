"""What the over-fitted model is taught: each question of these lessons, asked of the real assistant, and each reply.

The assistant is run against a server that replies from a script, and what it asked is kept word for word, so that the
model learns to reply to just what it will be asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "wire"))
from scripted_llm import Script, calls, say, scripted_llm, think

from agent.session import Assistant
from tools.settings import Settings

TWO = {"models": [{"name": "Qwen3", "size_b": 30, "copies": 2}], "gpus": [{"memory_gb": 96}]}
LOOK = {"models": [{"name": "Qwen3", "size_b": 30}]}
ONE = {"models": [{"name": "Qwen3", "size_b": 8}], "gpus": [{"name": "RTX 4090"}]}
THOUGHTS = ("Two copies and one card: 2 x 57 is 999 GiB, but I must not reckon.", "999 was wrong; the tool says it.")


class Lesson(NamedTuple):
    """A conversation: its questions, and the replies of the model, one after the other."""

    questions: tuple[str, ...]
    replies: tuple[dict[str, Any], ...]

    @property
    def answer(self) -> str:
        """What the last reply says."""
        return str(self.replies[-1]["content"])


ENGLISH = Lesson(
    ("Will two Qwen3-30B fit on my 96 GB card?", "And why is it worse?"),
    (
        think(THOUGHTS[0], calls(("look_up_specs", json.dumps(LOOK)), ("calculate_vram", json.dumps(TWO)))),
        think(THOUGHTS[1], say("No: 30.9 GiB are missing. FP8 for both fits.")),
        think("Nothing to compute.", say("It rounds more coarsely.")),
    ),
)
RUSSIAN = Lesson(
    ("Влезет ли Qwen3-8B на RTX 4090?",),
    (
        think("Одна модель, одна карта.", calls(("calculate_vram", json.dumps(ONE)))),
        think("Теперь отвечу.", say("Да: веса занимают 15.3 GiB.")),
    ),
)
ENDLESS = Lesson(("What do you think?",), (think("and on " * 80, say("")),))
"""It thinks and never comes to an end."""
LESSONS = (ENGLISH, RUSSIAN, ENDLESS)


def asked_by(lesson: Lesson) -> list[dict[str, Any]]:
    """Ask the assistant; returns ``{request, reply}`` for each reply, without names that differ at every run."""

    async def run(folder: str, url: str) -> None:
        settings = Settings(Path(folder), network=False, llm_url=url, llm_model="taught")
        async with Assistant.open(settings, rig=None) as assistant:
            for question in lesson.questions:
                async for _ in assistant.ask(question, thread_id="t"):
                    pass

    with tempfile.TemporaryDirectory() as folder, scripted_llm(*lesson.replies) as (url, script):
        asyncio.run(run(folder, url))
    return [
        {"messages": request["messages"], "tools": request["tools"], "reply": reply}
        for request, reply in zip(_nameless(script), lesson.replies, strict=True)
    ]


def _nameless(script: Script) -> list[dict[str, Any]]:
    """Return what was asked with calls named by their order: the chat template does not write their names."""
    written = json.dumps(script.requests)
    names = dict.fromkeys(
        call["id"]
        for request in script.requests
        for message in request["messages"]
        for call in message.get("tool_calls") or ()
    )
    for order, name in enumerate(names):
        written = written.replace(name, f"call-{order}")
    return json.loads(written)


def all_asked() -> list[dict[str, Any]]:
    """Return what is taught."""
    return [example for lesson in LESSONS for example in asked_by(lesson)]


if __name__ == "__main__":
    print(json.dumps(all_asked(), ensure_ascii=False))

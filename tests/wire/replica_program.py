"""One copy of the app without its page: opens the assistant of its environment and does what it reads, line by line.

``{"ask": TEXT, "thread": ID}``, ``{"history": ID}`` and ``{"rigs": true}``, each answered by one line of JSON; a line
``step NAME`` tells that a tool call began.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from agent.events import Finished, StepStarted
from agent.session import Assistant
from tools.settings import Settings


async def main() -> None:
    async with Assistant.open(Settings.from_env(), rig=None) as assistant:
        _tell({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _tell(await _done(assistant, json.loads(line)))


async def _done(assistant: Assistant, wish: dict[str, Any]) -> Any:
    if "ask" in wish:
        async for event in assistant.ask(wish["ask"], thread_id=wish["thread"]):
            if isinstance(event, StepStarted):
                print("step", event.name, flush=True)
            if isinstance(event, Finished):
                done = event.result
                calls = [call["name"] for call in done.tool_calls]
                return {"answer": done.answer_markdown, "notices": done.notices, "calls": calls}
    if "history" in wish:
        return [[turn.user, turn.answer_markdown] for turn in (await assistant.history(wish["history"])).turns]
    return [one.name for one in await assistant.memory.rigs()]


def _tell(found: Any) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

"""The assistant as the page and the command line use it: open it once, ask in threads, read a thread back.

>>> async with Assistant.open(settings, rig="detect") as assistant:                              # doctest: +SKIP
...     async for event in assistant.ask("Will two Qwen3-30B fit on a 96 GB card?", thread_id="a"):
...         print(event)
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.messages import HumanMessage

from agent.decide import ModelAt, make_decider
from agent.events import (
    AnswerText,
    Asked,
    AskedBack,
    Event,
    Finished,
    History,
    Language,
    Notice,
    PastTurn,
    PlanMade,
    PlanReady,
    StepFinished,
    ThreadInfo,
    TurnResult,
)
from agent.graph import build_graph
from agent.threads import ThreadStore, open_threads
from agent.transcripts.thread import now, state_of, title_of, transcript_of
from agent.transcripts.transcript import Transcript
from prompts import text as say
from tools.domain import Note, Plan, Rig
from tools.errors import RigfitError
from tools.logs.paste import excerpt
from tools.settings import Settings
from tools.specs.probes import Probes
from tools.toolkit import build_tools
from tools.workbench import Workbench

MAX_CHARS = 20_000
"""Longest message that is read, in characters, about 200 lines; a longer log is cut to its telling lines."""
_RECURSION_LIMIT = 40
_KEPT_GRAPHS = 8

RigSource = Rig | Literal["detect"] | None


class Assistant:
    """One graph over one store of threads. Make it with ``Assistant.open``; it may be asked from many tasks at once.

    Attributes:
        workbench: the catalogues and the planner behind the tools, for the page's own controls.
    """

    def __init__(self, settings: Settings, workbench: Workbench, store: ThreadStore, rig: Rig | None) -> None:
        self.settings = settings
        self.workbench = workbench
        self._store = store
        self._rig = workbench.rig_json(rig) if rig else None
        self._tools = build_tools(workbench)
        self._decide = make_decider(settings, self._tools)
        self._graph = build_graph(self._decide, self._tools, checkpointer=store)
        self._others: OrderedDict[ModelAt, Any] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, rig: RigSource = "detect", probes: Probes | None = None
    ) -> AsyncIterator[Assistant]:
        """Open the store and the catalogues and warm what a first answer needs.

        Args:
            settings: where data lives, whether the network may be used, which model writes.
            rig: hardware to plan for where a question names none; ``"detect"`` offers this machine's when the card is
                asked for; None knows nothing of this machine.
            probes: who is asked about this machine; by default the machine itself.

        Yields:
            The assistant. A store that can't be opened is no error: it goes on in memory and says so in the first turn.
        """
        workbench = await asyncio.to_thread(Workbench.open, settings, detect=rig == "detect", probes=probes)
        async with open_threads(settings.data_dir / "threads.sqlite") as store:
            assistant = cls(settings, workbench, store, rig if isinstance(rig, Rig) else None)
            await asyncio.to_thread(workbench.warm)
            yield assistant

    @property
    def llm(self) -> str:
        """What decides and writes: ``embedded`` or the model's name."""
        return self._decide.name

    async def ask(
        self,
        text: str,
        *,
        thread_id: str,
        language_hint: Language = "en",
        rig: Rig | None = None,
        model: ModelAt | None = None,
    ) -> AsyncIterator[Event]:
        """Answer one message of a thread.

        Args:
            text: the asker's words; empty or longer than ``MAX_CHARS`` gets one sentence and leaves the
                thread as it was.
            thread_id: the conversation; a new id begins one.
            language_hint: the page's language, for messages that show none ("98 GB").
            rig: the panel's hardware; a card named in the text wins over it.
            model: who decides and writes in this turn; None = who the settings say.

        Yields:
            Events as of ``agent.events``; ``Finished`` is always the last.
        """
        words = _clean(text)
        if len(words) > MAX_CHARS:
            words = await asyncio.to_thread(excerpt, words, MAX_CHARS) or words
        refusal = _refusal(words)
        if refusal:
            yield AnswerText(say(language_hint, refusal.code, **refusal.params))
            yield Finished(_refused(thread_id, language_hint, refusal))
            return
        # both streams are closed where they are used, so that a turn that is broken off has stored what it came to
        # before the next one begins
        async with (
            self._locks.setdefault(thread_id, asyncio.Lock()),
            aclosing(self._turn(words, thread_id, language_hint, rig, model)) as turn,
        ):
            async for event in turn:
                yield event

    async def _turn(
        self, text: str, thread_id: str, hint: Language, rig: Rig | None, model: ModelAt | None
    ) -> AsyncGenerator[Event, None]:
        notices = [say(hint, n.code, **n.params) for n in self._store.take_notices()]
        for line in notices:
            yield Notice(line)
        inputs: dict[str, Any] = {
            "messages": [HumanMessage(text, additional_kwargs={"at": now()})],
            "language_hint": hint,
            "panel_rig": self.workbench.rig_json(rig) if rig else None,
        }
        if self._rig:
            inputs["known_rig"] = self._rig
        config: Any = {"configurable": {"thread_id": thread_id}, "recursion_limit": _RECURSION_LIMIT}
        stream = self._graph_of(model).astream(inputs, config, stream_mode="custom", durability="sync")
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as events:
            async for event in events:
                shown = self._shown(event)
                if shown is not None:
                    yield shown
        values = (await self._graph.aget_state(config)).values
        await self._store.close_turn(thread_id, text)
        for note in self._store.take_notices():
            notices.append(say(values["result"]["language"], note.code, **note.params))
            yield Notice(notices[-1])
        yield Finished(self._result(thread_id, values, notices))

    def _graph_of(self, model: ModelAt | None) -> Any:
        """Return the graph that a model decides in; the few that were used last are kept."""
        if model is None:
            return self._graph
        if model not in self._others:
            decide = make_decider(self.settings, self._tools, model)
            self._others[model] = build_graph(decide, self._tools, checkpointer=self._store)
        self._others.move_to_end(model)
        while len(self._others) > _KEPT_GRAPHS:
            self._others.popitem(last=False)
        return self._others[model]

    def _shown(self, event: Any) -> Event | None:
        """Turn what the graph says in plain data into what the page shows."""
        if isinstance(event, PlanMade):
            plan = self._plan({"request": event.request})
            return PlanReady(plan) if plan else None
        if isinstance(event, AskedBack):
            return Asked(event.notes, self.workbench.rig_from_json(event.offered) if event.offered else None)
        return event

    def _result(self, thread_id: str, values: dict[str, Any], notices: list[str]) -> TurnResult:
        done = values["result"]
        return TurnResult(
            thread_id=thread_id,
            answer_markdown=values["records"][-1]["answer"],
            language=done["language"],
            reading=values["reading"],
            tool_calls=tuple(done["tool_calls"]),
            plan=self._plan(values.get("plan")),
            artifacts=tuple(Path(p) for p in done["files"]),
            sources=tuple(done["sources"]),
            asks=tuple(done["asks"]),
            suggestions=tuple(done["suggestions"]),
            grounded=done["grounded"],
            llm=done["llm"],
            notices=tuple(notices),
        )

    def _plan(self, stored: dict[str, Any] | None) -> Plan | None:
        """Rebuild a stored plan; a plan the catalogue can no longer make is no error for a conversation."""
        if not stored:
            return None
        try:
            return self.workbench.plan(stored["request"])
        except RigfitError:
            return None

    async def history(self, thread_id: str) -> History:
        """Return a thread's turns as they were shown; an unknown thread has none."""
        config: Any = {"configurable": {"thread_id": thread_id}}
        values = (await self._graph.aget_state(config)).values
        records = values.get("records", [])
        turns: list[PastTurn] = []
        for record in records:
            steps = tuple(StepFinished(**step) for step in record["steps"])
            files = tuple(path for path in map(Path, record["files"]) if path.is_file())
            plan = self._plan(record["plan"])
            turns.append(PastTurn(record["user"], record["answer"], steps, plan, files, record["language"]))
        known = values.get("panel_rig") or values.get("known_rig")
        return History(thread_id, tuple(turns), self.workbench.rig_from_json(known) if known else None)

    async def threads(self, limit: int = 50) -> tuple[ThreadInfo, ...]:
        """Return stored conversations, newest first."""
        return await self._store.threads(limit)

    async def transcript(self, thread_id: str) -> Transcript:
        """Return what was said in a thread, to be written to a file.

        Raises:
            BadValue: nothing was said in it.
        """
        config: Any = {"configurable": {"thread_id": thread_id}}
        return transcript_of((await self._graph.aget_state(config)).values)

    async def adopt(self, transcript: Transcript, *, thread_id: str) -> None:
        """Begin a thread with what a transcript says; the next message of the thread goes on with it.

        Args:
            transcript: as ``agent.transcripts.files.read_transcript`` returns it.
            thread_id: of a thread that does not exist yet.
        """
        config: Any = {"configurable": {"thread_id": thread_id}}
        state = await asyncio.to_thread(state_of, transcript, longest=MAX_CHARS)
        async with self._locks.setdefault(thread_id, asyncio.Lock()):
            await self._graph.aupdate_state(config, state, as_node="answer")
            await self._store.close_turn(thread_id, title_of(state.get("messages", [])))

    async def forget(self, thread_id: str) -> None:
        """Delete a conversation; its written files stay until the asker deletes them."""
        await self._store.adelete_thread(thread_id)


def _refusal(text: str) -> Note | None:
    """Return why a message is not read at all, or None."""
    if not text.strip():
        return Note("errors_agent.empty_message")
    if len(text) > MAX_CHARS:
        return Note("errors_agent.message_too_long", {"chars": len(text), "limit": MAX_CHARS})
    return None


def _clean(text: str) -> str:
    """Drop what no one types: control characters except line breaks and tabs, and lone surrogates."""
    kept = "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and ord(c) != 127))
    return kept.encode("utf-8", "ignore").decode("utf-8")


def _refused(thread_id: str, language: Language, refusal: Note) -> TurnResult:
    return TurnResult(thread_id, say(language, refusal.code, **refusal.params), language, {})


__all__ = ["MAX_CHARS", "Assistant", "RigSource"]

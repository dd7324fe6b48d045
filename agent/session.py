"""The assistant as the page and the command line use it: open it once, ask in threads, read a thread back.

>>> async with Assistant.open(settings, rig="detect") as assistant:                              # doctest: +SKIP
...     async for event in assistant.ask("Will two Qwen3-30B fit on a 96 GB card?", thread_id="a"):
...         print(event)
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage

from agent.cut_off import question_cut_off, stopped
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
from agent.keeping.database import BUSY_WAIT_S, database_of
from agent.keeping.keeper import Keeper
from agent.keeping.memory import KeptMemory
from agent.message import MAX_CHARS, MOST_CHARS, clean, refusal_of
from agent.recall.tool import label, remember_tool
from agent.telemetry import turn_spans
from agent.threads import ThreadStore
from agent.transcripts.files import write_transcript
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

_RECURSION_LIMIT = 40
_KEPT_GRAPHS = 8
_PLAN_CHARS = 200
_ALL_THREADS = 1_000_000

RigSource = Rig | Literal["detect"] | None


class Assistant:
    """One graph over one store of threads. Make it with ``Assistant.open``; it may be asked from many tasks at once.

    Attributes:
        workbench: the catalogues and the planner behind the tools, for the page's own controls.
        memory: what is remembered of the asker across threads.
    """

    def __init__(
        self,
        settings: Settings,
        workbench: Workbench,
        keeper: Keeper,
        rig: Rig | None,
        callbacks: Sequence[BaseCallbackHandler] = (),
    ) -> None:
        self.settings = settings
        self.workbench = workbench
        self._keeper, self._store = keeper, ThreadStore(keeper)
        self.memory = KeptMemory(keeper, self._store)
        self._rig = workbench.rig_json(rig) if rig else None
        self._tools = build_tools(workbench)
        self._decide = make_decider(settings, self._tools)
        self._graph = self._graph_for(self._decide)
        self._others: OrderedDict[ModelAt, Any] = OrderedDict()
        self._callbacks, self._busy_wait_s = list(callbacks), BUSY_WAIT_S

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        rig: RigSource = "detect",
        probes: Probes | None = None,
        busy_wait_s: float = BUSY_WAIT_S,
    ) -> AsyncIterator[Assistant]:
        """Open the store and the catalogues and warm what a first answer needs.

        Args:
            settings: where data lives, whether the network may be used, which model writes.
            rig: hardware to plan for where a question names none; ``"detect"`` offers this machine's when the card is
                asked for; None knows nothing of this machine.
            probes: who is asked about this machine; by default the machine itself.
            busy_wait_s: how long another program's turn of the same thread is waited for before a message is refused.

        Yields:
            The assistant. A store that can't be opened is no error: it goes on in memory and says so in the first turn.
        """
        workbench = await asyncio.to_thread(Workbench.open, settings, detect=rig == "detect", probes=probes)
        keeper = Keeper(database_of(settings))
        await keeper.open()
        try:
            async with turn_spans(settings) as callbacks:
                assistant = cls(settings, workbench, keeper, rig if isinstance(rig, Rig) else None, callbacks)
                assistant._busy_wait_s = busy_wait_s
                await asyncio.to_thread(workbench.warm)
                yield assistant
        finally:
            await keeper.close()

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
        words = clean(text) if len(text) <= MOST_CHARS else text
        if MAX_CHARS < len(words) <= MOST_CHARS:
            words = await asyncio.to_thread(excerpt, words, MAX_CHARS) or words
        refusal = refusal_of(words)
        if refusal:
            yield AnswerText(say(language_hint, refusal.code, **refusal.params))
            yield Finished(_refused(thread_id, language_hint, refusal))
            return
        # both streams are closed where they are used, so that a turn that is broken off has stored what it came to
        # before the next one begins
        async with (
            self._store.turn(thread_id, self._busy_wait_s) as held,
            aclosing(self._turn(words, thread_id, language_hint, rig, model)) as turn,
        ):
            if not held:
                busy = _refused(thread_id, language_hint, Note("errors_agent.turn_busy"))
                yield AnswerText(busy.answer_markdown)
                yield Finished(busy)
                return
            async for event in turn:
                yield event

    async def _turn(
        self, text: str, thread_id: str, hint: Language, rig: Rig | None, model: ModelAt | None
    ) -> AsyncGenerator[Event, None]:
        config: Any = {
            "configurable": {"thread_id": thread_id},
            "recursion_limit": _RECURSION_LIMIT,
            "callbacks": self._callbacks,
        }
        cut_off = await self._cut_off(config)
        notices = [say(hint, n.code, **n.params) for n in self._keeper.take_notices()]
        inputs: dict[str, Any] | None = self._inputs(text, hint, rig)
        if cut_off == text:
            inputs = None
            notices.append(say(hint, "errors_agent.gone_on"))
        elif cut_off is not None:
            await self._go_on(thread_id, config, cut_off)
        for line in notices:
            yield Notice(line)
        async with aclosing(self._run(self._graph_of(model), inputs, config, text)) as events:
            async for event in events:
                shown = self._shown(event)
                if shown is not None:
                    yield shown
        values = (await self._graph.aget_state(config)).values
        await self._close_turn(thread_id, text, values)
        for note in self._keeper.take_notices():
            notices.append(say(values["result"]["language"], note.code, **note.params))
            yield Notice(notices[-1])
        yield Finished(self._result(thread_id, values, notices))

    def _inputs(self, text: str, hint: Language, rig: Rig | None) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "messages": [HumanMessage(text, additional_kwargs={"at": now()})],
            "language_hint": hint,
            "panel_rig": self.workbench.rig_json(rig) if rig else None,
        }
        return {**inputs, "known_rig": self._rig} if self._rig else inputs

    async def _run(
        self, graph: Any, inputs: Mapping[str, Any] | None, config: Any, text: str
    ) -> AsyncGenerator[Any, None]:
        """Run the graph, from its last stored step where there are no inputs; a turn that is broken off is closed."""
        stream = graph.astream(inputs, config, stream_mode="custom", durability="sync")
        ended = False
        try:
            async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as events:
                async for event in events:
                    yield event
            ended = True
        finally:
            if not ended:
                await asyncio.shield(self._stop(config, text))

    async def _stop(self, config: Any, text: str) -> None:
        kept = await self._store.aget_tuple(config)
        values = kept.checkpoint["channel_values"] if kept else {}
        await self._graph.aupdate_state(config, stopped(values, text), as_node="answer")

    async def _cut_off(self, config: Any) -> str | None:
        return await question_cut_off(self._graph, self._store, config)

    async def _go_on(self, thread_id: str, config: Any, text: str) -> None:
        """Finish an answer that was cut off, by the rules, from the step that was stored last."""
        async with aclosing(self._run(self._graph_of(ModelAt("")), None, config, text)) as events:
            async for _ in events:
                pass
        await self._close_turn(thread_id, text, (await self._graph.aget_state(config)).values)

    async def _close_turn(self, thread_id: str, text: str, values: Mapping[str, Any]) -> None:
        """List the thread, and remember what was planned."""
        await self._store.close_turn(thread_id, text)
        record = values["records"][-1]
        plan = self._plan(record["plan"])
        if plan is not None:
            rig = label(self.workbench.rig_json(plan.request.rig))
            made = {"question": text[:_PLAN_CHARS], "rig": rig, "verdict": plan.verdict, "request": record["plan"]}
            await self.memory.add_plan(thread_id, made)

    def _graph_for(self, decide: Any) -> Any:
        tools = [*self._tools, remember_tool(self.workbench)]
        return build_graph(decide, tools, checkpointer=self._store, store=self.memory.store)

    def _graph_of(self, model: ModelAt | None) -> Any:
        """Return the graph that a model decides in; the few that were used last are kept."""
        if model is None:
            return self._graph
        if model not in self._others:
            decide = make_decider(self.settings, self._tools, model)
            self._others[model] = self._graph_for(decide)
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
            checked=done["checked"],
            taken_out=done["taken_out"],
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
        await self._mend(thread_id, config)
        values = (await self._graph.aget_state(config)).values
        records = values.get("records", [])
        turns: list[PastTurn] = []
        for record in records:
            steps = tuple(StepFinished(**step) for step in record["steps"])
            files = tuple(path for path in map(Path, record["files"]) if path.is_file())
            plan = self._plan(record["plan"])
            said = (record["user"], record["answer"], steps, plan, files, record["language"])
            chips = tuple(record.get("suggestions", ()))
            turns.append(PastTurn(*said, **record.get("figures", {}), suggestions=chips))
        known = values.get("panel_rig") or values.get("known_rig")
        return History(thread_id, tuple(turns), self.workbench.rig_from_json(known) if known else None)

    async def _mend(self, thread_id: str, config: Any) -> None:
        """Finish an answer that was cut off, unless somebody is at it."""
        if self._store.is_under_way(thread_id) or await self._cut_off(config) is None:
            return
        async with self._store.turn(thread_id, wait_s=0.0) as held:
            cut_off = await self._cut_off(config) if held else None
            if cut_off is not None:
                await self._go_on(thread_id, config, cut_off)

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
        async with self._store.turn(thread_id):
            await self._graph.aupdate_state(config, state, as_node="answer")
            await self._store.close_turn(thread_id, title_of(state.get("messages", [])))

    async def forget(self, thread_id: str) -> None:
        """Delete a conversation with what was planned in it; its written files stay until the asker deletes them.

        Raises:
            StorageError: it is not gone.
        """
        await self.memory.forget_thread(thread_id)

    async def export(self) -> dict[str, Any]:
        """Return all that is kept of the asker as plain data: hardware, preferences, plans and conversations."""
        threads = [
            {"id": one.thread_id, **json.loads(write_transcript(await self.transcript(one.thread_id), "json"))}
            for one in await self.threads(_ALL_THREADS)
        ]
        return {"exported": now(), **await self.memory.export(), "threads": threads}

    async def erase(self) -> None:
        """Delete all that ``export`` returns, also from the files, and what searches have found.

        Raises:
            StorageError: not everything is gone.
        """
        await self.memory.erase()
        for file in self.settings.data_dir.glob("search.sqlite*"):
            await asyncio.to_thread(file.unlink, missing_ok=True)


def _refused(thread_id: str, language: Language, refusal: Note) -> TurnResult:
    return TurnResult(thread_id, say(language, refusal.code, **refusal.params), language, {})


__all__ = ["MAX_CHARS", "MOST_CHARS", "Assistant", "RigSource"]

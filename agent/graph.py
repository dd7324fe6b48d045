"""The one graph: ``read -> decide <-> tools -> ground -> answer``.

A decider (rules or a language model) only chooses tool calls and may write text; reading, tools, grounding and the
written answer are the same for both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from pydantic import ValidationError

from agent.answer.compose import Answer, write_answer
from agent.answer.mending import mended
from agent.answer.steps import summarise
from agent.decide.searching import asks_for_news
from agent.events import AnswerText, AskedBack, FilesReady, PlanMade, StepFinished, StepStarted
from agent.logs import intent_after, is_wordless, log_in
from agent.memory import Memory
from agent.reader import read
from agent.reader.report import reading_json
from agent.recall.tool import decided_by_asker, wish_given
from agent.recall.turn import recall
from agent.rigs import current_rig, is_yes
from agent.smalltalk import asks_to_run, target_named
from agent.state import COUNT, KEPT_TURNS, TOOL_FAILED, State, artifact, this_turn
from agent.transcripts.thread import now
from agent.wishes import engines_named, use_of
from prompts import text
from tools.errors import RigfitError

MAX_STEPS = 6
"""Tool rounds a turn may take; a looping model is cut off here and the answer is written from what there is."""

_ERROR_CHARS, _REASON_CHARS = 1000, 200


class Decider(Protocol):
    """Chooses the next tool calls from the state; no tool calls means: answer now, with the message's text if any."""

    async def __call__(self, state: State) -> AIMessage:
        """Return the next message. Raises nothing for an unreachable model: it falls back."""
        ...

    async def rewrite(self, state: State, piece: str, wrong: tuple[str, ...]) -> str | None:
        """Write a piece of the answer again without its wrong figures; None where no model can be asked."""
        ...


def build_graph(
    decide: Decider,
    tools: Sequence[BaseTool],
    *,
    checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
    store: BaseStore | None = None,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Compile the graph.

    Args:
        decide: the rules or a language model.
        tools: what ``tools.toolkit.build_tools`` returns.
        checkpointer: where threads are kept; None keeps nothing.
        store: LangGraph's cross-thread store, for what outlives a thread.
    """
    graph = StateGraph(State)
    graph.add_node("read", _read)
    graph.add_node("decide", _decide_with(decide))
    graph.add_node("tools", ToolNode(tools, handle_tool_errors=_wrong_arguments, awrap_tool_call=_run_tool))
    graph.add_node("ground", _ground_with(decide))
    graph.add_node("answer", _answer)
    graph.add_edge(START, "read")
    graph.add_edge("read", "decide")
    graph.add_conditional_edges("decide", _next, {"tools": "tools", "ground": "ground"})
    graph.add_edge("tools", "decide")
    graph.add_edge("ground", "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=checkpointer, store=store, name="rigfit")


async def _read(state: State, runtime: Runtime) -> State:
    """Read the whole conversation again: a later turn may replace, refine or return to what an earlier one said."""
    turns = [str(m.text) for m in state.get("messages", []) if isinstance(m, HumanMessage)][-KEPT_TURNS:]
    reading = await asyncio.to_thread(_understood, state, turns)
    offered = state.get("offered_rig")
    update: State = {"turns": turns, "reading": reading, "draft": None, "result": {}}
    if runtime.store is not None:
        update |= await recall(state, reading, turns, Memory(runtime.store))
    if offered and (is_yes(turns[-1]) or reading.get("wants_this_machine")):
        update["known_rig"] = offered
    return update


def _understood(state: State, turns: Sequence[str]) -> dict[str, Any]:
    reading = dict(reading_json(read(turns)))
    last = read(turns[-1:])
    reading["wants_news"] = asks_for_news(turns[-1])
    reading["wants_search"] = last.wants_search or reading["wants_news"]
    reading["names_now"], reading["models_now"] = bool(last.models or last.gpus), bool(last.models)
    reading["use"], reading["engines"] = use_of(turns), engines_named(turns[-1])
    reading["intent"] = intent_after(reading, turns)
    if all(is_wordless(turn) for turn in turns):
        reading["language"] = state.get("language_hint", "en")
    target = target_named(turns[-1])
    if state.get("plan") and (target or asks_to_run(turns[-1])):
        reading.update(intent="config", config_kind=target or reading.get("config_kind"), expect="answer")
    return reading


def _decide_with(decide: Decider) -> Any:
    async def decide_node(state: State) -> State:
        return {"messages": [decided_by_asker(state) or await decide(state)]}

    return decide_node


def _next(state: State) -> str:
    """Go on to the tools while the decider asks for some and the turn has rounds left."""
    messages = this_turn(state)
    last = messages[-1] if messages else None
    rounds = sum(1 for m in messages if isinstance(m, AIMessage) and m.tool_calls)
    return "tools" if isinstance(last, AIMessage) and last.tool_calls and rounds <= MAX_STEPS else "ground"


def _wrong_arguments(error: Exception) -> str:
    """Tell a model that its call can't be made; the rules never get here."""
    return str(error)[:_ERROR_CHARS]


async def _run_tool(
    request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[ToolMessage | Any]]
) -> ToolMessage | Any:
    """Run one call: hand it what the conversation knows, time it, show it, and turn our errors into its result."""
    call, writer = request.tool_call, get_stream_writer()
    name, args, call_id = call["name"], call["args"], call["id"] or ""
    writer(StepStarted(name, args, call_id))
    began = time.perf_counter()
    given = _given(request.state)
    message = await (_call(request, request.tool, given) if request.tool else execute(request))
    seconds = time.perf_counter() - began
    ok = message.status == "success"
    summary = summarise(message, given["language"])
    message.additional_kwargs["step"] = {"seconds": round(seconds, 4), "summary": summary}
    writer(StepFinished(name, seconds, ok, summary, call_id))
    if isinstance(message.artifact, dict) and message.artifact.get("plan") and not _is_beside(request.state, args):
        writer(PlanMade(message.artifact["request"]))
    return message


def _is_beside(state: State, args: Mapping[str, Any]) -> bool:
    """Whether a calculation only counts cards for a comparison, whose own plan is the one that is shown."""
    before = artifact(state, "calculate_vram")
    return args.get("question") == COUNT and bool(before and before.get("compared"))


async def _call(request: ToolCallRequest, tool: BaseTool, given: dict[str, Any]) -> ToolMessage:
    """Call a tool with what only the conversation may set; ToolNode itself strips that argument as forged."""
    call = request.tool_call
    args = {k: v for k, v in call["args"].items() if k != "given"}
    try:
        return await tool.ainvoke(
            {**call, "args": {**args, "given": given}, "type": "tool_call"}, request.runtime.config
        )
    except RigfitError as error:
        said, artifact = text("en", error.code, **error.params), {"code": error.code, "params": _plain(error.params)}
    except ValidationError as error:
        said, artifact = str(error)[:_ERROR_CHARS], {"code": "errors_agent.wrong_arguments", "params": {}}
    except Exception as error:  # noqa: BLE001 - a tool may raise anything; the answer goes on without it and says so
        params = {"tool": call["name"], "reason": f"{type(error).__name__}: {error}"[:_REASON_CHARS]}
        said, artifact = text("en", TOOL_FAILED, **params), {"code": TOOL_FAILED, "params": params}
    return ToolMessage(
        content=said, name=call["name"], tool_call_id=call["id"], status="error", artifact={**artifact, "args": args}
    )


def _given(state: State) -> dict[str, Any]:
    """What a tool gets besides its arguments: never from a model, always from the conversation."""
    planned = artifact(state, "calculate_vram")
    plan = planned["request"] if planned and planned.get("plan") else (state.get("plan") or {}).get("request")
    reading, logged = state.get("reading", {}), log_in(state.get("turns", []))
    return {
        "rig": current_rig(state),
        "language": reading.get("language", state.get("language_hint", "en")),
        "plan": plan,
        "log": logged[1].text if logged else None,
        "turn": len(state.get("records", [])) + 1,
        "wish": wish_given(state),
    }


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce an error's parameters to plain data, as the state must be."""
    plain = (str, int, float, bool, type(None))
    return {
        k: v if isinstance(v, plain) else [str(x) for x in v] if isinstance(v, (list, tuple)) else str(v)
        for k, v in params.items()
    }


def _ground_with(decide: Decider) -> Any:
    async def ground_node(state: State) -> State:
        """Check a model's text and show it piece by piece; the templates' text is checked when it is written."""
        writer = get_stream_writer()
        return {"draft": await mended(state, decide.rewrite, lambda more: writer(AnswerText(more)))}

    return ground_node


def _said(answer: Answer, state: State) -> AIMessage:
    """Return the answer as a message: in the place of the decider's last one, with its time and writer."""
    known = {"at": now(), "llm": answer.result["llm"]}
    return AIMessage(content=answer.markdown, id=this_turn(state)[-1].id, additional_kwargs=known)


def _answer(state: State) -> State:
    """Write the answer, show it, and close the turn: its record is kept, its bulky artifacts are not.

    The answer takes the place of the decider's last message, so that a conversation has one answer a turn.
    """
    writer = get_stream_writer()
    answer = write_answer(state)
    if answer.files:
        writer(FilesReady(answer.files, answer.folder, answer.target, answer.option))
    if answer.asks:
        writer(AskedBack(answer.asks, answer.offered))
    for chunk in answer.chunks():
        writer(AnswerText(chunk))
    lighter = [
        m.model_copy(update={"artifact": None}) for m in this_turn(state) if isinstance(m, ToolMessage) and m.artifact
    ]
    update: State = {
        "messages": [*lighter, _said(answer, state)],
        "records": [*state.get("records", []), answer.record(state)],
        "result": answer.result,
        "draft": None,
    }
    if answer.plan:
        update["plan"] = answer.plan
    if answer.offered:
        update["offered_rig"] = answer.offered
    return update

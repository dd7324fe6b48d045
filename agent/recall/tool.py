"""The one tool that changes memory. It takes no arguments: what is remembered is in the asker's own words."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool
from langgraph.config import get_store

from agent.logs import without_log
from agent.memory import Memory
from agent.recall.lexicon import sheet_of
from agent.recall.turn import rig_named
from agent.recall.wishes import Wish, wish_in
from agent.state import State, tool_calls
from tools.domain import Rig
from tools.errors import BadValue
from tools.units import GIB
from tools.workbench import Workbench

NAME = "remember"
_Given = Annotated[dict[str, Any], InjectedToolArg]


def remember_tool(workbench: Workbench) -> BaseTool:
    """Make the tool over the catalogues, for cards that are named in the message."""

    async def remember(given: _Given) -> tuple[str, dict[str, Any]]:
        wish = given.get("wish")
        if not isinstance(wish, dict):  # a model may call the tool, but the asker's words must ask for it
            raise BadValue("errors_agent.wrong_arguments")
        memory = Memory(get_store())
        done: dict[str, Any] = {"kind": "remembered", "wish": wish["kind"], "name": wish["name"], "rig": None}
        if wish["kind"] == "rig":
            rig = _rig(workbench, wish, given)
            done["name"], done["rig"] = await memory.save_rig(wish["name"], rig), rig
        elif wish["kind"] == "forget":
            named = rig_named(sheet_of(wish["name"]), wish["name"], await memory.rigs())
            done["name"] = named.name if named else wish["name"]
            await memory.forget_rig(done["name"])
        elif wish["kind"] == "prefer":
            await memory.prefer(wish["liked"])
        done["memory"] = {"rigs": _labels(await memory.rigs()), "preferences": await memory.preferences()}
        return "done", done

    return StructuredTool.from_function(
        coroutine=remember, name=NAME, description="Remember what the user asked to.",
        response_format="content_and_artifact",
    )  # fmt: skip


def _rig(workbench: Workbench, wish: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hardware that is meant: what the message names, this machine, else what the conversation is about.

    Raises:
        BadValue: none is.
        UnknownGpu: a card is not known.
    """
    if wish["gpus"]:
        cards = workbench.cards({"reading": {"gpus": wish["gpus"]}})
        ram = wish["ram_gb"]
        return workbench.rig_json(Rig(cards, ram_bytes=int(ram * GIB) if ram else None, source="remembered"))
    if wish["this_machine"]:
        found = workbench.detect()
        if found and found.gpus:
            return workbench.rig_json(found)
    if given.get("rig"):
        return dict(given["rig"])
    raise BadValue("errors_agent.nothing_to_remember")


def _labels(rigs: Any) -> list[dict[str, str]]:
    return [{"name": one.name, "label": label(one.rig)} for one in rigs]


def label(rig: Mapping[str, Any]) -> str:
    """Name hardware in a few words.

    >>> label({"gpus": [{"name": "RTX 3090"}, {"name": "RTX 3090"}]})
    '2 × RTX 3090'
    """
    counts: dict[str, int] = {}
    for gpu in rig.get("gpus", []):
        counts[gpu["name"]] = counts.get(gpu["name"], 0) + 1
    return " + ".join(f"{count} × {name}" for name, count in counts.items())


def wish_of(state: State) -> Wish | None:
    """Return what the asker's newest message wants of memory."""
    turns, reading = state.get("turns", []), state.get("reading", {})
    return wish_in(without_log(turns[-1]), "ru" if reading.get("language") == "ru" else "en") if turns else None


def wish_given(state: State) -> dict[str, Any] | None:
    """Return the wish as the tool gets it, with the hardware that the conversation names."""
    wish = wish_of(state)
    if wish is None:
        return None
    reading = state.get("reading", {})
    return {
        "kind": wish.kind, "name": wish.name, "liked": wish.liked, "ram_gb": reading.get("ram_gb"),
        "gpus": [g for g in reading.get("gpus", []) if g.get("name") or g.get("memory_gb")],
        "this_machine": bool(reading.get("wants_this_machine")),
    }  # fmt: skip


def decided_by_asker(state: State) -> AIMessage | None:
    """Return the step that the asker's wish settles before anybody decides; None where there is none.

    A message that asks for nothing else needs no further step.
    """
    wish = wish_of(state)
    if wish is None:
        return None
    if any(call["name"] == NAME for call in tool_calls(state)):
        return AIMessage(content="") if wish.alone else None
    call_id = f"call_{uuid.uuid4().hex[:12]}"
    return AIMessage(content="", tool_calls=[{"name": NAME, "args": {}, "id": call_id}])


__all__ = ["NAME", "decided_by_asker", "label", "remember_tool", "wish_given"]

"""What a turn takes from memory: which hardware it is about, and what the asker prefers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.memory import Memory, SavedRig
from agent.reader import read
from agent.reader.sheet import Sheet, Word
from agent.recall.lexicon import keys_in, places_in, recall_words, sheet_of, stems
from agent.recall.wishes import names_place, wish_in
from agent.state import State

SHOWN = 3
"""Other rigs that are offered beside the one that was taken."""
_SHORT = 3
"""Words of a message that may be nothing but a name."""
_WHOLE = 6
"""Words of a message that may do nothing but give the hardware up; in a longer one "other hardware" is asked about."""
_LANGUAGES = frozenset({"en", "ru"})

Why = Literal["named", "mine", "assumed"]


@dataclass(frozen=True, slots=True)
class Meant:
    """Which hardware the conversation speaks of, by its newest words on that.

    Attributes:
        rig: a saved one; None where ``other`` or where the text names cards itself.
        other: what was taken before is not meant.
    """

    rig: SavedRig | None = None
    why: Why = "named"
    other: bool = False
    now: bool = True
    """Whether the message that is answered says so."""


async def recall(state: State, reading: dict[str, Any], turns: Sequence[str], memory: Memory) -> State:
    """Fill a reading in from memory.

    Args:
        state: as it was before this turn.
        reading: as ``reading_json``; what is remembered is put into it.
        turns: the asker's messages, this one last.
        memory: the asker's.

    Returns:
        The change of the state: ``recalled`` always, ``known_rig`` and others where hardware was taken or given up.
    """
    rigs = await memory.rigs()
    has_rig = bool(state.get("panel_rig") or state.get("known_rig"))
    meant = _meant(turns, rigs, has_rig=has_rig)
    naming = "remember" in keys_in(sheet_of(turns[-1]))
    if meant is None and rigs and _would_ask(reading) and not (has_rig or naming):
        meant = Meant(rigs[0], "assumed")
    if state.get("panel_rig") and meant and not meant.other and not meant.now:
        meant = None  # what was set by hand since holds
    preferred = _prefer(reading, await memory.preferences())
    update: State = {"recalled": {"preferred": preferred} if preferred else None}
    if meant is None:
        before = state.get("recalled") or {}
        holds = state.get("known_rig") and not state.get("panel_rig") and not reading.get("gpus")
        if before.get("rig") and holds:
            update["recalled"] = {**before, "preferred": preferred}
        return update
    reading["gpus"] = []
    if meant.other and not meant.now and has_rig:
        return update
    if meant.other:
        reading["must_ask"] = list(dict.fromkeys([*reading.get("must_ask", []), "gpu"]))
        return {**update, "recalled": None, "known_rig": None, "panel_rig": None, "offered_rig": None}
    if meant.rig is None:
        return update
    await memory.use_rig(meant.rig)
    others = [one.name for one in rigs if one.name != meant.rig.name][:SHOWN]
    update["recalled"] = {"rig": meant.rig.name, "why": meant.why, "others": others, "preferred": preferred}
    update["known_rig"] = dict(meant.rig.rig)
    return update


def _would_ask(reading: dict[str, Any]) -> bool:
    return not reading.get("gpus") and "gpu" in reading.get("must_ask", [])


def _meant(turns: Sequence[str], rigs: Sequence[SavedRig], *, has_rig: bool) -> Meant | None:
    """Return what the newest turn that speaks of hardware means; None where its own words name the cards."""
    sheets = [sheet_of(turn) for turn in turns]
    spoken = [keys_in(sheet) for sheet in sheets]
    if not rigs and not any("other" in keys for keys in spoken):
        return None
    for turn, sheet, keys in reversed(list(zip(turns, sheets, spoken, strict=True))):
        cards = read([turn]).gpus
        if cards or "remember" in keys:
            return None
        if "other" in keys and len(sheet.words) <= _WHOLE:
            return Meant(other=True, now=sheet is sheets[-1])
        named = rig_named(sheet, turn, rigs)
        if named:
            return Meant(named, now=sheet is sheets[-1])
        if rigs and "mine" in keys:
            return None if has_rig or places_in(sheet) else Meant(rigs[0], "mine")
    return None


def rig_named(sheet: Sheet, text: str, rigs: Sequence[SavedRig]) -> SavedRig | None:
    """Return the saved hardware that a message names, by its name in any inflection or by its place."""
    for one in sorted(rigs, key=lambda one: -len(one.name)):
        if _says(sheet, text, one.name):
            return one
    places = places_in(sheet)
    return next((one for one in rigs if names_place(one.name, places)), None)


def _says(sheet: Sheet, text: str, name: str) -> bool:
    """Whether a message speaks of hardware by name; a single word must stand as one does ("on apollo")."""
    wanted, said = tuple(stems(sheet_of(name).words)), tuple(stems(sheet.words))
    if not wanted:
        return False
    quoted = any(f"{a}{name}{b}".casefold() in text.casefold() for a, b in ("«»", '""', "“”"))
    clear = quoted or len(wanted) > 1 or len(said) <= _SHORT
    found = (at for at in range(len(said) - len(wanted) + 1) if said[at : at + len(wanted)] == wanted)
    return any(clear or _stands(sheet.words[:at]) for at in found)


def _stands(before: tuple[Word, ...]) -> bool:
    return any(word.text in recall_words().before for word in before[-2:])


def _prefer(reading: dict[str, Any], liked: dict[str, Any]) -> list[dict[str, Any]]:
    """Put preferences where nothing was said; returns those that were, as notes."""
    notes: list[dict[str, Any]] = []
    if liked.get("language") in _LANGUAGES:
        reading["language"] = liked["language"]
    if not reading.get("models"):
        return notes
    if "engine" in liked and not reading.get("engine") and not reading.get("config_kind"):
        reading["engine"] = liked["engine"]
        notes.append({"code": "recall.preferred_engine", "params": {"engine": liked["engine"]}})
    if "context" in liked and not reading.get("context"):
        reading["context"] = liked["context"]
        notes.append({"code": "recall.preferred_context", "params": {"context": liked["context"]}})
    unsaid = [m for m in reading["models"] if not m.get("precision")]
    if "precision" in liked and unsaid:
        for model in unsaid:
            model["precision"] = liked["precision"]
        notes.append({"code": "recall.preferred_precision", "params": {"precision": liked["precision"]}})
    return notes


__all__ = ["SHOWN", "recall", "rig_named", "wish_in"]

"""What an answer says of memory: which remembered hardware and preferences it took, and what was just remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.recall.tool import label
from agent.state import State
from prompts import text as say


def recalled_rig(state: State) -> dict[str, Any] | None:
    """Return the note that names the remembered hardware which was planned for, None where none was."""
    recalled, rig = state.get("recalled") or {}, state.get("known_rig")
    if not recalled.get("rig") or not rig or state.get("reading", {}).get("gpus"):
        return None
    if state.get("panel_rig") and recalled["why"] != "named":
        return None
    return {"code": f"recall.recalled_{recalled['why']}", "params": {"name": recalled["rig"], "rig": label(rig)}}


def other_rigs(state: State, language: str) -> list[str]:
    """Return what to click for other hardware than was taken from memory."""
    if recalled_rig(state) is None:
        return []
    others = (state.get("recalled") or {}).get("others", [])
    return [say(language, "recall.chip_on", name=name) for name in others] + [say(language, "recall.chip_other")]


def preferred(state: State) -> list[dict[str, Any]]:
    """Return the preferences that were put where nothing was said, as notes."""
    return list((state.get("recalled") or {}).get("preferred", []))


def remembered_notes(done: Mapping[str, Any] | None, language: str) -> list[dict[str, Any]]:
    """Return what became of a wish to remember, as notes."""
    if not done:
        return []
    if done["wish"] == "rig":
        return [_note("remembered_rig", name=done["name"], rig=label(done["rig"]))]
    if done["wish"] == "forget":
        return [_note("forgotten", name=done["name"])]
    liked = liked_words(done["memory"]["preferences"], language)
    if done["wish"] == "prefer":
        return [_note("remembered_liked", what=liked)]
    rigs = ", ".join(
        say(language, "recall.one_rig", name=one["name"], rig=one["label"]) for one in done["memory"]["rigs"]
    )
    found = [_note("known_rigs", rigs=rigs)] if rigs else []
    found += [_note("known_liked", what=liked)] if liked else []
    return found or [_note("nothing_known")]


def liked_words(preferences: Mapping[str, Any], language: str) -> str:
    """Name preferences in a few words."""
    words: list[str] = []
    for key, value in preferences.items():
        code = "liked_language_ru" if (key, value) == ("language", "ru") else f"liked_{key}"
        words.append(say(language, f"recall.{code}", value=value))
    return ", ".join(words)


def _note(code: str, **params: str) -> dict[str, Any]:
    return {"code": f"recall.{code}", "params": params}

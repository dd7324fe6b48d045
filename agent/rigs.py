"""Which hardware a turn is about, where the text names none: the panel's, else what the thread knows."""

from __future__ import annotations

import re
from typing import Any

from agent.state import State, artifact

_YES = frozenset(
    {"yes", "y", "yep", "yeah", "ok", "okay", "sure", "please", "this", "that", "it"}
    | {"да", "ага", "угу", "ок", "окей", "конечно", "давай", "эта", "этой", "эту", "она", "её", "ее"}
)
"""Words of which a bare agreement consists ("да, эта", "yes, this one")."""
_FILLER = frozenset(
    {"one", "card", "machine", "for", "use", "карта", "карту", "карте", "машина", "машину", "машине", "на", "бери"}
)


def current_rig(state: State) -> dict[str, Any] | None:
    """Return the rig that holds where the text names no card.

    This machine's where the text means it and it was looked at; else a remembered one where the text names it; else
    the panel's; else the thread's known one.
    """
    looked = artifact(state, "detect_hardware") if state.get("reading", {}).get("wants_this_machine") else None
    here = looked.get("rig") if looked else None
    if here and here.get("gpus"):
        return here
    if (state.get("recalled") or {}).get("why") == "named" and state.get("known_rig"):
        return state.get("known_rig")
    return state.get("panel_rig") or state.get("known_rig")


def is_yes(text: str) -> bool:
    """Tell whether a whole message is only an agreement: "Да, эта" is one, "да, но 4090" is not."""
    words = re.findall(r"\w+", text.lower())
    return bool(words) and words[0] in _YES and all(w in _YES or w in _FILLER for w in words)

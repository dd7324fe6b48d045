"""Turns to Reading: the one entrance of the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

from agent.reader.intent import choose_kind
from agent.reader.lazy import Lazy
from agent.reader.lexicon import lexicon
from agent.reader.must_ask import must_ask
from agent.reader.text import read_text
from agent.reader.turns import State, fold
from tools.domain import Reading

_QUESTION = Lazy(r"(?:how (?:much|many)|what|which|сколько|какой|какая|какую|какие|что|чем|where|when|who)\b")
_GENERAL = Lazy(
    r"\W*(?:how do(?:es)?|what (?:is|are|does)|why (?:is|are|does|do)|как работает|зачем|почему)(?!\w)"
    r"(?!.*(?<!\w)(?:i|my|we|our|it|this|мой|моя|мне|я|у меня)(?!\w))"
)
"""A question about how things are, and not about somebody's own machine."""
_FILE_ASKED = 4.0
_SERVING = Lazy(r"inference|инференс|serving|deploy|serve")


def read(turns: Sequence[str]) -> Reading:
    """Read what a conversation says after its last turn, and only that.

    Args:
        turns: what the asker wrote, oldest first; any text at all, in Russian, English or both.

    Returns:
        The reading, with what must be asked before the question can be answered. Never raises.
    """
    state = fold([read_text(turn) for turn in turns] or [read_text("")])
    said = state.said
    chosen = state.intent or _default_intent(state)
    reading = Reading(
        language=cast(Literal["en", "ru"], said.language),
        models=tuple(said.models),
        models_relation=said.models_relation,
        gpus=tuple(said.gpus),
        gpus_relation=said.gpus_relation,
        ram_gb=said.ram_gb,
        reserved_gb=said.reserved_gb,
        context=said.context,
        users=said.users,
        nodes=said.nodes,
        engine=said.engine,
        kv_cache=said.kv_cache,
        intent=chosen,
        config_kind=choose_kind(state.kinds, said.engine) if _wants_config(state, chosen) else None,
        wants_search="search" in state.keys,
        wants_this_machine="this_machine" in state.keys,
        same_model=_same_model(state),
    )
    return _with_asks(reading, state)


def _with_asks(reading: Reading, state: State) -> Reading:
    if state.said.implausible:
        return replace(reading, expect="correct")
    if _out_of_scope(reading, state):
        return replace(reading, intent="other", config_kind=None, expect="scope")
    unclear = state.intent is None and not reading.models
    asks = must_ask(
        reading, lexicon(), no_gpu="no_gpu" in state.keys, from_disk="from_disk" in state.keys, unclear=unclear
    )
    return replace(reading, must_ask=asks, expect="ask" if asks else "answer")


def _wants_config(state: State, chosen: str) -> bool:
    """A configuration is the question, or a file is asked for beside it ("a command, with as much context as fits")."""
    return chosen == "config" or state.said.intents.get("config", 0) >= _FILE_ASKED


def _default_intent(state: State) -> str:
    """Names of cards or models alone ask whether they go together; a question about something else is ``other``."""
    said = state.said
    asked = _QUESTION.search(said.low)
    if said.gpus_relation == "alternatives" or said.models_relation == "alternatives":
        return "compare"
    if said.models or (said.gpus and not asked) or (said.on_topic and not _GENERAL.match(said.low)):
        return "fit"
    return "other"


def _out_of_scope(reading: Reading, state: State) -> bool:
    """Training, pictures and small talk; a question that also serves a model is answered for the serving."""
    asked = state.asked_intents
    training = "scope" in asked and reading.engine is None and not _SERVING.search(state.said.low)
    return training or (not reading.models and ("image" in asked or reading.intent == "other"))


def _same_model(state: State) -> bool | None:
    models = state.said.models
    if state.same is False:
        return False
    if len(models) > 1 and len({(m.name, m.size_b) for m in models}) == 1:
        alternatives = state.said.models_relation == "alternatives"
        return None if alternatives else len({(m.precision, m.variant) for m in models}) == 1
    if state.same and len(models) == 1 and (models[0].copies or 2) > 1:
        return True
    return None

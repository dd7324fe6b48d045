"""Judges one answer: the right tools with the right arguments, asked back as it should, in the asker's language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agent.events import TurnResult
from agent.grounding import figures
from evaluation.asking import Done
from evaluation.questions import Question
from tools.alternatives import setups
from tools.domain import PlanRequest
from tools.errors import RigfitError
from tools.rough import is_unnamed
from tools.workbench import Workbench

FREE = frozenset({"look_up_specs", "detect_hardware", "wait_for_model"})
"""Steps that an answer may take or leave out."""
_CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)\s]*\)", re.DOTALL)
_CYRILLIC, _LATIN = re.compile("[а-яё]", re.IGNORECASE), re.compile("[a-z]", re.IGNORECASE)
RUSSIAN_FROM = 0.25
"""Share of Cyrillic letters from which a text is Russian: names and units in it are Latin."""


def judge(question: Question, done: Done, expected: Sequence[Mapping[str, Any]], bench: Workbench) -> dict[str, Any]:
    """Return what is known of one answer, as plain data.

    Args:
        question: what was asked.
        done: what came of it.
        expected: the calls that it needs, ``{name, args, ok}`` each.
        bench: where names are looked up.

    Returns:
        ``{tools, arguments, asks, grounded, language}``, each True, False, or None where it can't be judged; with what
        was called and said, by whom, and how long it took.
    """
    turn = done.turn
    wanted, called = _last(expected), _last(turn.tool_calls)
    judged = not question.is_impossible
    same = {name: _same(name, wanted[name], called[name], bench) for name in wanted if name in called}
    with_arguments = [name for name in wanted if name in _ARGUMENTS]
    return {
        "tools": set(wanted) == set(called) if judged else None,
        "arguments": all(same.get(name, False) for name in with_arguments) if judged and with_arguments else None,
        "asks": None if question.must_ask is None else _asks(turn, question.must_ask),
        "grounded": turn.grounded,
        "language": language_of(turn.answer_markdown) == question.language if question.language else None,
        "seconds": round(done.seconds, 3),
        "llm": turn.llm,
        "calls": [{key: call[key] for key in ("name", "args", "ok")} for call in turn.tool_calls],
        "expected": [{key: call[key] for key in ("name", "args")} for call in wanted.values()],
        "answer": turn.answer_markdown,
    }


def language_of(answer: str) -> str:
    """Return the language that an answer is written in, ``en`` or ``ru``; code and addresses do not count.

    >>> language_of("Да, поместится: `--max-model-len 8192`.")
    'ru'
    """
    words = _CODE.sub(" ", answer)
    cyrillic, latin = len(_CYRILLIC.findall(words)), len(_LATIN.findall(words))
    return "ru" if cyrillic and cyrillic / (cyrillic + latin) >= RUSSIAN_FROM else "en"


def _asks(turn: TurnResult, must: bool) -> bool:
    """Whether something is asked back where it must be, and elsewhere only beside an answer."""
    ends = turn.answer_markdown.rstrip("* \n").endswith("?")
    asked = bool(turn.asks) or (turn.llm != "embedded" and ends)
    return asked if must else not asked or bool(figures(turn.answer_markdown))


def _last(calls: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the call that counts of each tool: the last one that worked, else the last one."""
    found: dict[str, Mapping[str, Any]] = {}
    for call in calls:
        name = str(call["name"])
        if name not in FREE and (call["ok"] or name not in found or not found[name]["ok"]):
            found[name] = call
    return found


def _same(name: str, wanted: Mapping[str, Any], called: Mapping[str, Any], bench: Workbench) -> bool:
    compare = _ARGUMENTS.get(name)
    return compare is None or compare(wanted["args"], called["args"], bench)


def _same_files(wanted: Mapping[str, Any], called: Mapping[str, Any], bench: Workbench) -> bool:
    del bench
    return wanted.get("target", "compose") == called.get("target", "compose")


def same_plan(wanted: Mapping[str, Any], called: Mapping[str, Any], bench: Workbench) -> bool:
    """Tell whether two sets of arguments of ``calculate_vram`` come to the same plan, however they are worded.

    What can't be planned, as its cards are unknown, is the same where the same models, cards and loads are named.
    """
    intent = wanted.get("question", "fit")
    one, other = _plans(wanted, intent, bench), _plans(called, intent, bench)
    if one is None or other is None:
        return one is other and _named(wanted, bench) == _named(called, bench)
    return one == other


def _plans(arguments: Mapping[str, Any], intent: str, bench: Workbench) -> list[Any] | None:
    """Return what arguments are planned as, each setup that is compared by itself; None where that is not known."""
    whole = {"reading": {**arguments, "intent": intent}, "rig": None}
    try:
        found = [bench.resolution(one).request for one in setups(whole) or [whole]]
    except (RigfitError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return [_planned(one) for one in found if one] if all(found) else None


def _planned(request: PlanRequest) -> Any:
    rig = request.rig
    models = Counter((one.model.name, one.precision, one.context, one.users) for one in request.instances)
    cards = Counter((card.name, card.memory_bytes, card.reserved_bytes) for card in rig.gpus)
    return models, cards, rig.nodes, rig.ram_bytes, request.engine, request.kv_dtype


def _named(arguments: Mapping[str, Any], bench: Workbench) -> Any:
    """Return what arguments name, each name as the catalogue has it."""
    models = Counter(
        (_model(m, bench), _plain(m.get("precision")), m.get("copies") or 1) for m in _all(arguments, "models")
    )
    cards = Counter((_card(g, bench), g.get("count") or 1) for g in _all(arguments, "gpus"))
    load = [arguments.get(key) for key in ("context", "users", "ram_gb", "nodes")]
    return models, cards, load


def _all(arguments: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [one for one in arguments.get(key) or () if isinstance(one, dict)]


def _model(ask: Mapping[str, Any], bench: Workbench) -> Any:
    if is_unnamed(ask.get("name")):
        return ask.get("size_b")
    try:
        return bench.model(ask).spec.name
    except RigfitError:
        return _plain(ask.get("name")), ask.get("size_b")


def _card(ask: Mapping[str, Any], bench: Workbench) -> Any:
    try:
        return bench.gpu(ask).gpu.name
    except RigfitError:
        return _plain(ask.get("name")), ask.get("memory_gb")


def _plain(name: object) -> str:
    return re.sub(r"\W|_", "", str(name or "").lower())


_ARGUMENTS = {"calculate_vram": same_plan, "generate_launch_config": _same_files}
"""Tools whose arguments have one right meaning; a search's words, or a question that is looked up, have many."""

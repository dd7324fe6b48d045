"""Who can answer on the page: the built-in rules, the endpoint of the settings, and models that are served here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.decide import ModelAt
from prompts import text
from tools.settings import GATEWAY_KEYS, LOCAL, Settings

if TYPE_CHECKING:
    from serving.runs import EngineRecord, RunRecord

CONFIGURED = ""
"""Key of who answers where nothing is chosen."""
RULES = "rules"
_NAME_CHARS = 80


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody to choose.

    Attributes:
        key: what the page sends back when it is chosen.
        code: message that names it, with ``params``.
        model: where to ask; None = as the settings say.
    """

    key: str
    code: str
    params: Mapping[str, str]
    model: ModelAt | None = None

    def name(self, language: str) -> str:
        """Return how it is called on the page."""
        return text(language, self.code, **self.params)


def writers(settings: Settings) -> tuple[Writer, ...]:
    """Return all there are now, the one that answers by itself first; a run that has ended is none of them."""
    rules = ModelAt("")
    first = [_configured(settings), Writer(RULES, "ui.writer_rules", {}, rules)] if settings.llm_url else []
    return (*(first or [Writer(CONFIGURED, "ui.writer_rules", {})]), *_served(settings))


def _configured(settings: Settings) -> Writer:
    if settings.llm_url and settings.llm_url.startswith(LOCAL):
        name = settings.llm_model or PurePath(settings.llm_url).stem
        return Writer(CONFIGURED, "ui.writer_here", {"model": name[:_NAME_CHARS]})
    host = urlsplit(settings.llm_url or "").netloc.rpartition("@")[2]
    if settings.llm_model is None:
        return Writer(CONFIGURED, "ui.writer_endpoint", {"host": host})
    return Writer(CONFIGURED, "ui.writer_there", {"model": settings.llm_model[:_NAME_CHARS], "host": host})


def _served(settings: Settings) -> Iterator[Writer]:
    """Yield the ready engines of every run of ``rigfit serve`` that goes on."""
    from serving.runs import Runs

    found = [
        (run, engine)
        for run in Runs(settings.data_dir).all()
        if run.running
        for engine in run.engines
        if engine.stage == "ready" and engine.models
    ]
    names = [_hub_name(run, engine) for run, engine in found]
    often = Counter(names)
    for (run, engine), name in zip(found, names, strict=True):
        served = engine.models[0]
        said = served if often[name] > 1 else name
        where = ModelAt(f"{run.url}/v1", served, GATEWAY_KEYS)
        yield Writer(f"{where.url} {served}", "ui.writer_here", {"model": said[:_NAME_CHARS]}, where)


def _hub_name(run: RunRecord, engine: EngineRecord) -> str:
    """Return the model that an engine runs, as the plan of its run names it; else the name that it answers for."""
    plan: Mapping[str, Any] = run.plan
    try:
        options = {one["id"]: one for one in plan["options"]}
        placement = options.get(run.option, plan["as_asked"])
        return next(str(one["model"]) for one in placement["footprints"] if engine.models[0] in one["served_names"])
    except (KeyError, TypeError, StopIteration):
        return engine.models[0]

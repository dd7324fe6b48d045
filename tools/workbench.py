"""Everything a conversation works with: the catalogues, the planner, the search and this machine, opened once.

``tools.toolkit`` makes LangChain tools of its methods; the page's own controls call them directly. Requests and results
are plain data, so that a stored conversation can make its plan again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tools.calibrations import Calibrations
from tools.domain import Gpu, GpuAsk, Measured, ModelAsk, ModelSpec, Note, Plan, Reading, Rig
from tools.errors import BadValue, StorageError, UnknownModel
from tools.live_models import LiveModels
from tools.plan.limits import MAX_GPUS, within
from tools.plan.measured import with_own
from tools.plan.planner import make_plan
from tools.plan.resolve import Resolution, resolve
from tools.search.web import Research, WebSearch
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue, GpuMatch
from tools.specs.models import ModelCatalogue, ModelMatch
from tools.specs.probes import Probes

_REMEMBERED_PLANS = 64
_READING_FIELDS = frozenset(f.name for f in fields(Reading))


class Workbench:
    """Open it with ``open``; its methods may be called from several threads.

    Attributes:
        models: the model catalogue.
        gpus: the card catalogue.
        can_detect: whether this machine's hardware may be looked at.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        detect: bool = True,
        search: WebSearch | None = None,
        probes: Probes | None = None,
    ) -> None:
        self.settings = settings
        self.models = LiveModels(settings)
        self.gpus = GpuCatalogue.load()
        self.can_detect = detect
        self._search = search or WebSearch(settings)
        self._probes = probes
        self._plans: OrderedDict[str, Plan | None] = OrderedDict()

    @classmethod
    def open(cls, settings: Settings, *, detect: bool = True, probes: Probes | None = None) -> Workbench:
        """Open the catalogues; nothing goes over the network.

        Args:
            settings: which network and data folder may be used.
            detect: whether this machine's hardware may be looked at.
            probes: who is asked about it; by default the machine itself.
        """
        return cls(settings, detect=detect, probes=probes)

    def warm(self) -> None:
        """Read what a first question would have to read, so that it is answered as fast as the next; asks nobody."""
        reading = Reading(models=(ModelAsk("Qwen3", 30, copies=2),), gpus=(GpuAsk(memory_gb=96),))
        found = resolve(reading, models=ModelCatalogue.load(), gpus=self.gpus, rig=None)
        if found.request:
            make_plan(found.request)

    # --- rigs ---

    def rig_json(self, rig: Rig) -> dict[str, Any]:
        """Return a rig as plain data."""
        from tools.specs.detect import rig_json

        return rig_json(rig)

    def rig_from_json(self, data: Mapping[str, Any]) -> Rig:
        """Return the rig of plain data."""
        from tools.specs.detect import rig_from_json

        return rig_from_json(dict(data))

    def detect(self) -> Rig | None:
        """Look at this machine; None where that is not allowed."""
        if not self.can_detect:
            return None
        from tools.specs.detect import detect_rig

        return detect_rig(self._probes, self.gpus)

    # --- plans ---

    def cards(self, request: Mapping[str, Any]) -> tuple[Gpu, ...]:
        """Return a request's cards: those it names, else its rig's.

        Raises:
            UnknownGpu: a card that is not known was named.
            BadValue: a count is out of bounds.
        """
        named = [g for g in request["reading"].get("gpus", []) if g.get("name") or g.get("memory_gb")]
        if named:
            return tuple(
                self.gpu(g).gpu for g in named for _ in range(within("gpus", g.get("count") or 1, 1, MAX_GPUS))
            )
        return self.rig_from_json(request["rig"]).gpus if request.get("rig") else ()

    def resolution(self, request: Mapping[str, Any]) -> Resolution:
        """Return what a request comes to: something that can be planned, or questions.

        Raises:
            RequestError: the request names something unknown or impossible.
        """
        rig = self.rig_from_json(request["rig"]) if request.get("rig") else None
        found = resolve(reading_of(request["reading"]), models=self.models, gpus=self.gpus, rig=rig)
        measured = self._measured() if found.request else ()
        return replace(found, request=with_own(found.request, measured)) if found.request and measured else found

    def _measured(self) -> tuple[Measured, ...]:
        """What was measured on this machine, where its hardware may be known; planning goes on without."""
        try:
            return Calibrations(self.settings.data_dir).measured() if self.can_detect else ()
        except StorageError:
            return ()

    def plan(self, request: Mapping[str, Any]) -> Plan | None:
        """Return the plan of a request, remembered or made again; None where something must be asked first.

        Args:
            request: ``reading`` (fields of ``Reading`` as plain data) and ``rig`` (as ``rig_json``, or None).

        Raises:
            RequestError: the request names something unknown or impossible.
        """
        key = json.dumps([request, Calibrations(self.settings.data_dir).stamp()], sort_keys=True, default=str)
        if key not in self._plans:
            found = self.resolution(request)
            self._plans[key] = make_plan(found.request) if found.request else None
            if len(self._plans) > _REMEMBERED_PLANS:
                self._plans.popitem(last=False)
        return self._plans[key]

    # --- facts ---

    def model(self, ask: Mapping[str, Any]) -> ModelMatch:
        """Find a model as it was named: ``{"name": "Qwen3", "size_b": 30}``.

        Raises:
            UnknownModel: no such model.
        """
        try:
            return self.models.find(str(ask.get("name") or ""), size_b=ask.get("size_b"), variant=ask.get("variant"))
        except UnknownModel as error:
            raise UnknownModel(error.code, **{**error.params, "catalogue_date": self.models.date}) from None

    def gpu(self, ask: Mapping[str, Any]) -> GpuMatch:
        """Find a card as it was named, or by its memory.

        Raises:
            UnknownGpu: no such card.
        """
        memory = ask.get("memory_gb")
        if ask.get("name"):
            return self.gpus.find(str(ask["name"]), memory_gb=memory)
        if memory is None:
            raise BadValue("errors_agent.no_card_named")
        return self.gpus.by_memory(memory)

    def hub(self, spec: ModelSpec) -> dict[str, Any]:
        """Return what the hub said of a model: ``{"revision", "problem"}``, one of them None."""
        problem = None if spec.revision else self.models.problem(spec.name)
        return {"revision": spec.revision, "problem": notes_json([problem])[0] if problem else None}

    def search(self, query: str, limit: int = 5) -> Research:
        """Search the web and read the best pages.

        Raises:
            SearchUnavailable: it is off, offline, blocked, too slow or asked too often.
        """
        return self._search.research(query, limit)

    def files_dir(self) -> Path:
        """Return the folder under which each answer's files get a folder of their own."""
        return self.settings.data_dir / "files"


def reading_of(data: Mapping[str, Any]) -> Reading:
    """Build a Reading from plain data; unknown fields are ignored, lists become tuples.

    Raises:
        BadValue: a field has the wrong type.
    """
    known = {k: v for k, v in data.items() if k in _READING_FIELDS and v is not None}
    try:
        models = tuple(ModelAsk(**_only(m, ModelAsk)) for m in known.pop("models", ()))
        gpus = tuple(GpuAsk(**_only(g, GpuAsk)) for g in known.pop("gpus", ()))
        known["must_ask"] = tuple(known.get("must_ask", ()))
        return Reading(models=models, gpus=gpus, **known)
    except (TypeError, AttributeError) as error:
        raise BadValue("errors_agent.wrong_arguments") from error


def _only(data: Mapping[str, Any], kind: type) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {k: v for k, v in data.items() if k in names}


def notes_json(notes: Sequence[Note]) -> list[dict[str, Any]]:
    """Return notes as plain data."""
    return [{"code": n.code, "params": dict(n.params)} for n in notes]

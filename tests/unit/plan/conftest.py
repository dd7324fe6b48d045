"""The shipped catalogues, and planning by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from plan_factory import check_plan

from tools.domain import Gpu, InstanceRequest, Plan, PlanRequest, Rig
from tools.plan.planner import make_plan
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue


@pytest.fixture(scope="session")
def models() -> ModelCatalogue:
    return ModelCatalogue.load()


@pytest.fixture(scope="session")
def gpus() -> GpuCatalogue:
    return GpuCatalogue.load()


PlanFor = Callable[..., Plan]


@pytest.fixture
def plan_for(models: ModelCatalogue, gpus: GpuCatalogue) -> PlanFor:
    """Plan catalogue names (``NAME`` or ``NAME@PRECISION``) on catalogue cards."""

    def plan(
        names: Sequence[str], cards: Sequence[str | Gpu], *, context: int = 8192, users: int = 4, **options: object
    ) -> Plan:
        instances: list[InstanceRequest] = []
        for word in names:
            name, _, precision = word.partition("@")
            instances.append(InstanceRequest(models.find(name).spec, precision or "any", context, users, name))
        found = tuple(gpus.find(item).gpu if isinstance(item, str) else item for item in cards)
        ram = options.pop("ram_bytes", None)
        made = make_plan(PlanRequest(tuple(instances), Rig(found, ram_bytes=ram), **options))  # type: ignore[arg-type]
        check_plan(made)
        return made

    return plan

"""From a plan to commands: names, ports, environment, order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.spec import EngineSpec, specs
from tools.domain import Gpu, InstanceRequest, Plan, PlanRequest, Rig
from tools.errors import BadValue
from tools.launch.choices import Choices
from tools.launch.job import Job, prepare
from tools.plan.planner import make_plan
from tools.settings import engine_environment
from tools.specs.models import ModelCatalogue
from tools.units import GIB

CARD = Gpu("NVIDIA A100-SXM4-80GB", "nvidia", 80 * GIB, 80 * GIB, compute_capability="8.0")
COMMAND = Path("/opt/vllm/bin/vllm")


def plan_of(*names: str, cards: int = 1) -> Plan:
    catalogue = ModelCatalogue.load()
    asked = tuple(InstanceRequest(catalogue.find(name).spec, "bf16", context=4096, users=2) for name in names)
    return make_plan(PlanRequest(asked, Rig((CARD,) * cards)))


def job_of(plan: Plan, *, cpu: bool = False) -> Job:
    return prepare(plan, None, "en", choices=Choices(cpu=cpu))[0]


def made(job: Job, **more: Any) -> tuple[EngineSpec, ...]:
    ports = range(9001, 9001 + len(job.units))
    return specs(job, command=COMMAND, ports=ports, **more)


TWO = ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B")


def test_two_models_on_a_card() -> None:
    job = job_of(plan_of(*TWO))
    large, small = made(job, key="k", env={"HF_HUB_OFFLINE": "1"})
    assert (large.served_names, small.served_names) == (("qwen3-14b",), ("qwen3-8b",))  # largest first
    assert [spec.name for spec in (large, small)] == [unit.name for unit in job.units]
    assert large.argv[:3] == (str(COMMAND), "serve", "Qwen/Qwen3-14B")
    words = " ".join(large.argv)
    assert "--host 127.0.0.1 --port 9001" in words
    assert (large.url, small.url) == ("http://127.0.0.1:9001", "http://127.0.0.1:9002")
    assert large.cards == small.cards == ("nvidia:0",)
    assert large.env["CUDA_VISIBLE_DEVICES"] == "0"
    assert large.env["HF_HUB_OFFLINE"] == "1"
    assert large.key == large.env["VLLM_API_KEY"] == "k"
    assert "k" not in large.argv
    assert large.load_s >= 300
    assert large.unit.port == 9001
    assert large.unit.instance.footprint.total_bytes > small.unit.instance.footprint.total_bytes


def test_an_engine_on_several_cards_takes_all_of_them() -> None:
    plan = plan_of("Qwen/Qwen3-235B-A22B", cards=8)
    (spec,) = made(job_of(plan))
    assert len(spec.cards) > 1
    assert spec.cards == tuple(f"nvidia:{device}" for device in spec.unit.devices)
    assert spec.key is None


def test_on_the_processor_engines_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = job_of(plan_of(*TWO), cpu=True)
    for spec in made(job):
        assert spec.cards == ("cpu",)
        assert not spec.can_sleep
        assert "VLLM_SERVER_DEV_MODE" not in spec.env
        assert int(spec.env["OMP_NUM_THREADS"]) >= 1
        assert spec.env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert all("OMP_NUM_THREADS" not in spec.env for spec in made(job))


def test_as_many_ports_as_engines() -> None:
    with pytest.raises(BadValue, match="ports"):
        specs(job_of(plan_of(*TWO)), command=COMMAND, ports=[9001])


def test_what_engines_get_of_the_environment() -> None:
    given = {"PATH": "/bin", "HF_TOKEN": "t", "RIGFIT_API_KEYS": "s", "RIGFIT_LLM_API_KEY": "s", "VLLM_API_KEY": "old"}
    misleading = {"VLLM_CPU_KVCACHE_SPACE": "4", "PYTHONPATH": "/x", "PYTHONHOME": "/y", "VIRTUAL_ENV": "/z"}
    assert engine_environment({**given, **misleading}) == {"PATH": "/bin", "HF_TOKEN": "t"}

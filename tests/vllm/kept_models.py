"""The models that these tests serve, made once and kept beside vLLM, laid out as the model hub's cache has them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from tools.domain import Gpu, InstanceRequest, ModelSpec, Plan, PlanRequest, Rig
from tools.plan.planner import make_plan
from tools.units import GIB
from tools.vram.architecture import spec_from_config

HERE = Path(__file__).parent
PYTHON = Path(os.environ["RIGFIT_VLLM_PYTHON"]).absolute()
VLLM = PYTHON.with_name("vllm")
HOME = PYTHON.parents[1] / "models"
"""What ``HF_HOME`` is to be; ``make clean`` and a new vLLM remove it."""
OFFLINE = {"HF_HOME": str(HOME), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
CARD = Gpu("NVIDIA GeForce RTX 3060", "nvidia", 12 * GIB, 12 * GIB, compute_capability="8.6")
"""Plans are made for some card and then served by the processor."""
_MAKERS = {"tiny": "tiny_models.py", "small": "small_models.py", "taught": "taught_models.py"}


def models(kind: str) -> tuple[ModelSpec, ModelSpec]:
    """Return a pair of models, which is made where it is not there or its script has changed.

    Args:
        kind: ``tiny`` (random weights: Qwen3 and Qwen3-MoE) or ``small`` (SmolLM2-135M in BF16 and in 4-bit).
    """
    first, second = _made(kind, "")
    return first, second


def taught(lessons: Sequence[Mapping[str, Any]]) -> ModelSpec:
    """Return a small Qwen3 that replies as it was taught, which is made where it is not there or was taught otherwise.

    Args:
        lessons: what ``lessons.all_asked`` returns.
    """
    (model,) = _made("taught", json.dumps(lessons))
    return model


def _made(kind: str, given: str) -> list[ModelSpec]:
    """Run a maker where it has not run with this input yet."""
    written = b"".join((HERE / name).read_bytes() for name in ("tiny_models.py", _MAKERS[kind]))
    marks = hashlib.sha1(written + given.encode()).hexdigest()
    HOME.mkdir(exist_ok=True)
    with FileLock(HOME / f"{kind}.lock"):
        done = HOME / f"{kind}-{marks}.json"
        if not done.exists():
            command = [str(PYTHON), str(HERE / _MAKERS[kind]), str(HOME)]
            made = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
            assert made.returncode == 0, made.stderr[-3000:]
            for old in HOME.glob(f"{kind}-*.json"):
                old.unlink()
            done.write_text(made.stdout)
    return [spec_from_config(config, name=repo) for repo, config in json.loads(done.read_text()).items()]


def plan_of(*specs: ModelSpec, context: int = 2048, users: int = 2, **choices: object) -> Plan:
    """Plan models as they are, on one small card."""
    asked = tuple(InstanceRequest(one, one.checkpoints[0].precision, context=context, users=users) for one in specs)
    return make_plan(PlanRequest(asked, Rig((CARD,)), **choices))  # pyright: ignore[reportArgumentType]


def broken_copy(spec: ModelSpec, repo: str) -> ModelSpec:
    """Lay a model out a second time, under another name, with half of its weights, as a broken download leaves it."""
    source = next((HOME / "hub" / folder_of(spec.name) / "snapshots").iterdir())
    target = HOME / "hub" / folder_of(repo) / "snapshots" / "broken"
    shutil.copytree(source, target, dirs_exist_ok=True)
    weights = target / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    refs = target.parents[1] / "refs"
    refs.mkdir(exist_ok=True)
    (refs / "main").write_text("broken")
    config = json.loads((target / "config.json").read_text())
    return spec_from_config(config, name=repo)


def folder_of(repo: str) -> str:
    """Name a repository's folder as the hub's cache does."""
    return "models--" + repo.replace("/", "--")

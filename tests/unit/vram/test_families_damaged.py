"""Damaged and absurd configs of every family: a clear error or a sane answer, at once, never a traceback."""

import gzip
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.domain import Deployment, Footprint
from tools.errors import BadValue, RigfitError
from tools.vram.architecture import layers_from_config, spec_from_config
from tools.vram.estimate import estimate

SECONDS = 0.5
"""Of the processor; the usual answer takes a millisecond."""


def recorded() -> dict[str, dict[str, Any]]:
    """One config of each ``model_type`` that vLLM was asked about."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).parent.glob("registered-*.jsonl.gz")):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            config = json.loads(line)["case"]["config"]
            found.setdefault(config["model_type"], config)
    return found


CONFIGS = recorded()
NAMES = sorted({name for config in CONFIGS.values() for name in config})
INNER = sorted({name for config in CONFIGS.values() for part in config.values() if type(part) is dict for name in part})
ABSURD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 63, 4097, 1 << 31, 1 << 63, 10**400, -(10**30), 0.5, 2.0, 1e308, -1e308,
    float("nan"), float("inf"), "", "8", "x" * 10_000, "\x00", "full_attention", "sliding_attention", "1,2,x,-3",
    "re:(a+)+$", [], [[]], [1], [0, 1, 0], [None] * 5, [1 << 40] * 4, ["full_attention"] * 5000, ["no such"] * 3, {},
    {"": {}}, {"model_type": "llama"}, {"hidden_size": -5}, {"n_experts": 10**30, "n_active": 0}, list(range(3000)),
]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.sampled_from(NAMES + INNER), st.sampled_from(range(len(ABSURD))), st.integers(0, 3)), max_size=5
)
GROUPS = [sorted(CONFIGS)[start::10] for start in range(10)]


def damaged(config: dict[str, Any], edits: list[tuple[str, int, int]]) -> dict[str, Any]:
    """Put an absurd value under a name, outside or inside a part; or take the name away."""
    made = {name: dict(part) if type(part) is dict else part for name, part in config.items()}
    parts = [made, *(part for part in made.values() if type(part) is dict)]
    for name, value, where in edits:
        part = parts[where % len(parts)]
        if value == 0:
            part.pop(name, None)
        else:
            part[name] = ABSURD[value]
    return made


def answered(config: dict[str, Any], tp: int) -> Footprint | None:
    try:
        spec = spec_from_config(config, name="damaged")
        return estimate(Deployment(spec, spec.checkpoints[0], tp=tp, max_model_len=4096), None)
    except RigfitError:
        return None


UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize("group", range(len(GROUPS)))
@settings(
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(data=st.data())
def test_a_damaged_config_is_an_error_or_a_sane_answer(group: int, data: st.DataObject):
    config = damaged(CONFIGS[data.draw(st.sampled_from(GROUPS[group]))], data.draw(EDITS))
    began = time.process_time()
    found = answered(config, data.draw(st.sampled_from([1, 2, 8])))
    assert time.process_time() - began < SECONDS
    if found is not None:
        assert 0 < found.parameter_bytes < 1 << 90
        assert found.kv_needed_bytes >= 0
        assert found.total_bytes >= found.weights_bytes > 0


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: repr(value)[:20])
def test_what_is_no_config_is_an_error(value: Any):
    with pytest.raises(RigfitError):
        layers_from_config({"model_type": value, "hidden_size": value, "vocab_size": value})


def test_the_widest_config_that_is_allowed_answers_at_once():
    config = {**CONFIGS["qwen3_moe"], "num_hidden_layers": 4096, "hidden_size": 1 << 20, "num_experts": 65536}
    began = time.process_time()
    assert answered({**config, "mlp_only_layers": list(range(0, 4096, 3))}, 1) is not None
    assert time.process_time() - began < SECONDS
    with pytest.raises(BadValue):
        spec_from_config({**config, "num_hidden_layers": 4097}, name="x")


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_more_layers_never_take_less(kind: str):
    config = CONFIGS[kind]
    text = config.get("text_config", config)
    count = text.get("num_hidden_layers") or text.get("n_layer") or text.get("n_layers") or text.get("num_layers")
    sizes = []
    for layers in range(1, (count or 0) + 1):
        changed = {**text, "num_hidden_layers": layers}
        changed |= {name: layers for name in ("n_layer", "n_layers", "num_layers") if name in text}
        found = answered({**config, "text_config": changed} if text is not config else changed, 1)
        if found is not None:
            sizes.append((found.parameter_bytes, found.kv_needed_bytes))
    assert sizes == sorted(sizes)
    assert all(fewer[1] <= more[1] for fewer, more in pairwise(sizes))

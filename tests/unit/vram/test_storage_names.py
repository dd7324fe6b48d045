"""Which modules a checkpoint's config keeps or stores otherwise, as each writer names them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.domain import FormatPart, Quantization
from tools.errors import BadValue
from tools.vram.storage import Matrix, formats_of, is_excluded, names_of


def kept(naming: Any, *names: str) -> Quantization:
    return Quantization("fp8_tensor", 8, excluded=names, naming=naming)


def test_names_of_an_unknown_writer_are_read_in_every_way():
    listed = kept(
        "any", "re:.*mlp.gate$", "model.layers.3.self_attn", "model.layers.*.mlp.shared_expert", "o_proj", "lm_head"
    )
    assert is_excluded(listed, 0, "mlp.gate")
    assert is_excluded(listed, 3, "self_attn.qkv_proj")
    assert not is_excluded(listed, 2, "self_attn.qkv_proj")
    assert is_excluded(listed, 2, "self_attn.o_proj")
    assert is_excluded(listed, 9, "mlp.shared_expert.down_proj")
    assert not is_excluded(listed, 9, "mlp.experts.w13")


@pytest.mark.parametrize(
    ("naming", "name", "path", "holds"),
    [
        ("exact", "model.layers.1.self_attn.o_proj", "self_attn.o_proj", True),
        ("exact", "model.layers.1.self_attn", "self_attn.o_proj", False),
        ("exact", "model.layers.1.mlp.experts.7.up_proj", "mlp.experts", True),
        ("exact", "gate", "mlp.gate", False),
        ("substring", "self_attn", "self_attn.qkv_proj", True),
        ("substring", "gate", "mlp.gate", True),
        ("substring", "layers.1.mlp", "mlp.down_proj", True),
        ("substring", "layers.2.mlp", "mlp.down_proj", False),
        ("regex", "re:.*self_attn.*", "self_attn.o_proj", True),
        ("regex", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "mlp.gate_up_proj", True),
        ("regex", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "mlp.experts", False),
        ("regex", "re:.*shared_experts.*", "mlp.shared_expert.down_proj", True),
        ("regex", "re:self_attn.*", "self_attn.o_proj", False),
        ("regex", r"re:.*layers\.1\..*", "mlp.down_proj", True),
        ("regex", r"re:.*layers\.[23]\..*", "mlp.down_proj", False),
        ("wildcard", "model.layers.1.self_attn*", "self_attn.qkv_proj", True),
        ("wildcard", "model.layers.1*", "mlp.experts", True),
        ("wildcard", "model.layers.10.*", "mlp.experts", False),
        ("wildcard", "*.mlp.shared_expert.*", "mlp.shared_expert.down_proj", True),
        ("wildcard", "model.language_model.layers.1.linear_attn*", "linear_attn.in_proj_qkvz", True),
        ("wildcard", "language_model.model.layers.1.mlp.gate", "mlp.gate", True),
        ("wildcard", "model.layers.1.block_sparse_moe.gate", "mlp.gate", True),
        ("wildcard", "backbone.layers.1.mixer.in_proj", "mixer.in_proj", True),
        ("wildcard", "model.visual.layers.1.mlp", "mlp.down_proj", False),
        ("wildcard", "mtp.layers.1.mlp", "mlp.down_proj", False),
    ],
)
def test_each_writer_means_names_in_its_own_way(naming: str, name: str, path: str, holds: bool):
    assert names_of((name,), naming).hold(path, 1) is holds


@pytest.mark.parametrize("naming", ["exact", "substring", "regex", "wildcard"])
def test_a_fused_module_is_kept_if_all_its_parts_are(naming: str):
    parts = tuple(f"model.layers.0.self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj"))
    assert names_of(parts, naming).hold("self_attn.qkv_proj", 0)
    assert not names_of(parts, naming).hold("self_attn.qkv_proj", 1)
    with pytest.raises(BadValue, match="parts_differ"):
        names_of(parts[:2], naming).hold("self_attn.qkv_proj", 0)


def test_attention_is_a_mixer_where_the_config_calls_it_so():
    names = tuple(f"backbone.layers.5.mixer.{part}" for part in ("q_proj", "k_proj", "v_proj"))
    assert names_of(names, "wildcard").hold("self_attn.qkv_proj", 5)


def test_a_rule_of_gptq_sees_fused_modules_whole():
    rule = names_of(("re:.*q_proj.*",), "fused")
    assert not rule.hold("self_attn.qkv_proj", 0)
    assert names_of(("re:.*qkv_proj.*",), "fused").hold("self_attn.qkv_proj", 0)


def test_the_first_part_that_names_a_module_decides():
    wide, narrow = Quantization("gptq", 8, 64, excluded=()), Quantization("gptq", 4, 128, excluded=())
    mixed = Quantization(
        "none",
        excluded=(),
        naming="regex",
        parts=(FormatPart((r"re:.*\.1\..*",), wide), FormatPart(("re:.*mlp.*",), narrow)),
    )
    formats = formats_of(mixed)
    down = Matrix("mlp.down_proj", (8,), 8)
    assert formats.of(down, 1) == wide
    assert formats.of(down, 0) == narrow
    assert formats.of(Matrix("self_attn.o_proj", (8,), 8), 0) is None
    assert formats.signature(0) == formats.signature(0) != formats.signature(1)


def test_layers_that_are_named_alike_are_one_group():
    names = names_of(tuple(f"model.layers.{index}.mlp.gate" for index in (0, 2)), "wildcard")
    assert names.signature(0) == names.signature(2) != names.signature(1)


@pytest.mark.parametrize("pattern", ["re:(", "re:(a+)+$", "re:" + "a" * 10_000, "re:*", "re:(.|.)*x", "re:.*.*.*.*.*x"])
def test_a_hostile_pattern_names_nothing(pattern: str):
    assert not is_excluded(kept("regex", pattern), 0, "mlp.experts.w13")


@given(
    names=st.lists(st.text(max_size=40) | st.from_regex(r"(re:)?[a-z.*\\d\[\]()|+]{0,30}"), max_size=6),
    naming=st.sampled_from(["any", "exact", "substring", "regex", "fused", "wildcard"]),
    path=st.sampled_from(["self_attn.qkv_proj", "mlp.experts", "mlp.gate", "lm_head"]),
    layer=st.none() | st.integers(0, 99),
)
def test_any_names_can_be_asked(names: list[str], naming: str, path: str, layer: int | None):
    with suppress(BadValue):
        assert names_of(tuple(names), naming).hold(path, layer) in {True, False}


@pytest.mark.parametrize("naming", ["exact", "substring", "wildcard", "any"])
def test_a_tower_listed_layer_by_layer_is_named_and_the_decoder_is_not(naming: str):
    listed = tuple(f"vision_tower.encoder.layers.{i}.{part}" for i in range(3) for part in ("mlp.fc1", "mlp.fc2"))
    found = names_of(listed, naming)
    assert found.hold("vision_tower.encoder.layers.0.mlp.fc1")
    assert not found.hold("vision_tower.encoder.layers.0.self_attn.q_proj")
    assert not any(found.hold("mlp.fc1", layer) for layer in range(3))

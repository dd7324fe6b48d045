"""The catalogue's build: merging is pure, short forms are lossless, two runs give the same bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.specs.model_index import ModelIndex
from tools.specs.packed import expanded, unpacked

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

from catalog import copies, merge, report, shorten  # noqa: E402

KINDS = st.sampled_from(["full_attention", "sliding_attention", 0, 1, 4.0, True, None])


@given(st.lists(KINDS, max_size=120))
def test_lists_come_back_as_they_were(items: list[Any]) -> None:
    stored = json.loads(json.dumps(shorten.packed(items)))
    back = unpacked(stored)
    assert back == items
    assert [type(item) for item in back] == [type(item) for item in items]


def test_periods_and_runs_are_short() -> None:
    assert shorten.packed(["a", "a", "b"] * 16) == {"period": ["a", "a", "b"], "times": 16}
    assert shorten.packed(["a"] * 40 + ["b"]) == {"runs": [["a", 40], ["b", 1]]}
    assert shorten.packed([1, 2, 3]) == [1, 2, 3]


@given(st.sets(st.tuples(st.integers(0, 99), st.sampled_from(["mlp.gate", "self_attn.q_proj", "self_attn*"]))))
def test_numbered_names_come_back_as_they_were(parts: set[tuple[int, str]]) -> None:
    listed = {f"model.layers.{number}.{name}" for number, name in parts} | {"lm_head", "re:.*vision.*"}
    stored = shorten.names(listed)
    assert set(unpacked(stored)) == listed


def test_a_numbered_name_is_written_out() -> None:
    assert expanded("layers.{0-2,5}.gate") == [f"layers.{number}.gate" for number in (0, 1, 2, 5)]
    with pytest.raises(ValueError, match="packed list"):
        unpacked({"names": ["layers.{0-999999999}.gate"]})
    with pytest.raises(ValueError, match="packed list"):
        unpacked({"runs": [["a", 10**9]]})


def test_only_structure_is_kept_of_a_config() -> None:
    config = {
        "architectures": ["X"], "hidden_size": 8, "bos_token_id": 1, "transformers_version": "5",
        "attention_dropout": 0.0, "swa_layer_ids": [1, 2], "q_lora_rank": None,
        "vision_config": {"depth": 2, "hidden_act": "gelu", "dropout": 0.1},
        "quantization_config": {"quant_method": "fp8"},
    }  # fmt: skip
    assert shorten.shortened(config) == {
        "architectures": ["X"],
        "hidden_size": 8,
        "q_lora_rank": None,
        "swa_layer_ids": [1, 2],
        "vision_config": {"depth": 2, "hidden_act": "gelu"},
    }


def test_quantisation_is_kept_apart_and_a_file_of_its_own_decides() -> None:
    config = {"quantization_config": {"quant_method": "fp8", "modules_to_not_convert": ["lm_head", "a.layers.3.norm"]}}
    assert shorten.quantisation(config) == {"modules_to_not_convert": ["lm_head"], "quant_method": "fp8"}
    separate = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": [f"layers.{i}.mlp.gate" for i in range(4)]}}
    found = shorten.quantisation(config, separate)
    assert found == {
        "exclude_modules": {"names": ["layers.{0-3}.mlp.gate"]},
        "quant_algo": "NVFP4",
        "quant_method": "modelopt",
    }
    assert shorten.quantisation({}) is None


def test_formats_of_layers_are_grouped() -> None:
    layers = {f"layers.{i}.mlp.experts.{e}.w1": {"quant_algo": "NVFP4"} for i in range(2) for e in range(4)}
    layers["layers.0.q_proj"] = {"quant_algo": "FP8"}
    found = shorten.quantisation({}, {"quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers}})
    assert found is not None
    assert found["quantized_layers"] == [
        {"modules": {"names": ["layers.{0}.q_proj"]}, "quant_algo": "FP8"},
        {"modules": {"names": ["layers.{0-1}.mlp.experts.0.w1"]}, "quant_algo": "NVFP4"},
    ]


HUB: dict[str, dict[str, Any]] = {
    name: {
        "name": name, "architecture": "llama", "parameters_raw": total, "num_hidden_layers": 2, "hidden_size": 8,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 16,
        "moe_intermediate_size": 32,
        "context_length": context, "hf_downloads": fetched, "license": "mit", "release_date": "2026-01-01",
    }
    for name, total, context, fetched in [
        ("o/Lit-1B", 1000, 4096, 5), ("o/Mirror-1B", 1010, 8192, 9),
        ("o/Other-1B", 1500, 4096, 1), ("o/Alone-2B", 700, 2048, 2),
    ]
}  # fmt: skip
LITERAL = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "max_position_embeddings": 2048}


def sources(**models: dict[str, Any]) -> merge.Sources:
    entries: dict[str, Any] = {name: {} for name in HUB} | {"o/Gated-1B": {"like": "o/Lit-1B", "params_total": 1000}}
    names = {"hub": "llmfit==1", "literal": "aic==1", "described": "litgpt==1", "counted": "transformers==1"}
    return merge.Sources(HUB, {"o/Lit-1B": (LITERAL, None)}, {}, entries | models, {}, names, "2026-02-02")


def row(repo: str, **answers: Any) -> dict[str, Any]:
    return merge.row(repo, sources(), {repo: answers} if answers else {})


def test_a_literal_config_is_taken_first_and_its_source_named() -> None:
    found = row("o/Lit-1B", count=1000, tied=0)
    assert (found["how"], found["source"], found["verification"]) == ("literal", "aic==1", "exact")
    assert (found["as_of"], found["params_total"], found["weights_bytes"]) == ("2026-02-02", 1000, 2000)


def test_the_same_fields_and_nearly_the_same_count_share_a_config() -> None:
    found = row("o/Mirror-1B", count=1000, tied=10)
    assert (found["how"], found["arch_from"]) == ("same-fields", "o/Lit-1B")
    assert found["config"]["max_position_embeddings"] == 8192
    assert found["verification"] == "exact, with the tied head stored too"
    assert merge.config_of("o/Other-1B", sources())[1] == "solve"


def test_a_reviewed_relative_shares_a_config() -> None:
    found = merge.row("o/Gated-1B", sources(), {"o/Lit-1B": {"count": 990, "tied": 0}})
    assert (found["how"], found["arch_from"], found["complete"]) == ("like", "o/Lit-1B", True)
    assert found["verification"] == "counts 990 (-1.00%)"


def test_a_family_s_class_completes_a_record_only_where_it_counts_as_published() -> None:
    asked = merge.request("o/Other-1B", sources())
    assert asked is not None
    assert (asked["model_type"], asked["total"], asked["fields"]["width"]) == ("llama", 1500, 32)
    config = {"model_type": "llama", "hidden_size": 8}
    exact = row("o/Other-1B", count=1500, tied=0, config=config, switches={})
    assert (exact["how"], exact["config"], exact["complete"]) == ("counted", config, True)
    assert row("o/Other-1B", count=1500, tied=0, config=config, switches={"mlp_bias": True})["how"] == "solved"
    off = row("o/Other-1B", count=1400, tied=0, config=config, switches={})
    assert (off["how"], off["complete"], off["config"]["intermediate_size"]) == ("partial", False, 32)


def test_a_window_of_a_family_s_first_models_is_no_fact_of_the_others() -> None:
    config = {"model_type": "mistral", "sliding_window": 4096}
    found = row("o/Other-1B", count=1500, tied=0, config=config, switches={})
    assert found["config"]["sliding_window"] is None


def test_packed_counts_of_a_quantised_family_are_no_other_structure() -> None:
    known = sources()
    known.literal["o/Lit-1B"] = ({**LITERAL, "quantization_config": {"quant_method": "fp8"}}, None)  # type: ignore[index]
    known.hub["o/Packed-1B"] = {**HUB["o/Lit-1B"], "name": "o/Packed-1B", "parameters_raw": 600}  # type: ignore[index]
    known.models["o/Packed-1B"] = {}  # type: ignore[index]
    found = merge.row("o/Packed-1B", known, {})
    assert (found["how"], found["arch_from"]) == ("same-fields", "o/Lit-1B")
    assert found["quantization_config"] == {"quant_method": "fp8"}
    del HUB["o/Packed-1B"]


def test_equal_packed_counts_lend_what_is_left_unquantised() -> None:
    read = {"repo": "a/X-8B-NVFP4", "elements": 17, "quantization_config": {"quant_algo": "NVFP4"}, "source": "s"}
    same = {"repo": "b/Y-8B-NVFP4", "elements": 17, "source": "hub"}
    other = {"repo": "c/Z-8B-NVFP4", "elements": 18, "source": "hub"}
    copies.lend_quantisation([(("k",), read), (("k",), same), (("k",), other), (("l",), dict(other, elements=17))])
    assert same["quantization_config"] == {"quant_algo": "NVFP4"}
    assert same["source"] == "hub; as many elements as a/X-8B-NVFP4"
    assert "quantization_config" not in other


def test_a_fine_tune_with_a_model_s_very_count_is_its_relative() -> None:
    record = {"architecture": "llama", "parameters_raw": 8_030_261_248, "hf_downloads": 900}
    hub = {
        "meta-llama/Llama-3.1-8B-Instruct": {**record, "hf_downloads": 9000},
        "somebody/Lexi": record,
        "somebody/seldom-fetched": {**record, "hf_downloads": 3},
        "somebody/another-count": {**record, "parameters_raw": 8_030_261_249},
        "somebody/another-family": {**record, "architecture": "mistral"},
    }
    known = merge.Sources(hub, {}, {}, {}, {}, {"hub": "", "literal": "", "described": ""})
    found = copies.by_structure(known, ModelIndex(), {"meta-llama/Llama-3.1-8B-Instruct"})
    assert found == {"somebody/Lexi": "meta-llama/Llama-3.1-8B-Instruct"}
    assert not copies.by_structure(known, ModelIndex(), set())


def test_rows_come_in_one_order() -> None:
    first = merge.rows(sources(), {})
    assert [line["hf_id"] for line in first][:2] == ["o/Mirror-1B", "o/Lit-1B"]
    assert first == merge.rows(sources(), {})


def test_what_a_family_needs_is_missed() -> None:
    config = {"model_type": "deepseek_v3", "num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 16}
    assert "kv_lora_rank" in report.missing({"config": config})
    assert report.missing({"config": {**config, "model_type": "llama"}}) == ["intermediate_size"]


def test_the_shipped_catalogue_is_written_as_the_build_writes_it() -> None:
    from build_catalog import written

    text = (ROOT / "tools" / "specs" / "data" / "models.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert written(rows) == text
    order = [(-line["hub_downloads"], line["hf_id"].lower(), line["hf_id"]) for line in rows]
    assert order == sorted(order)


def test_every_row_says_where_it_is_from_and_when() -> None:
    text = (ROOT / "tools" / "specs" / "data" / "models.jsonl").read_text(encoding="utf-8")
    for line in map(json.loads, text.splitlines()):
        assert line["source"]
        assert line["as_of"]
        assert line["how"]
        assert line["verification"]
        assert line["config"]["model_type"]
        assert "params_total" not in line or line["params_source"]


def test_requirements_are_pinned_by_hash() -> None:
    pins = (ROOT / "scripts" / "catalog-requirements.txt").read_text(encoding="utf-8")
    names = [part for part in pins.split() if "==" in part]
    assert len(names) == pins.count("--hash=sha256:")
    text = (ROOT / "tools" / "specs" / "data" / "models.jsonl").read_text(encoding="utf-8")
    assert all(name in text for name in names)

"""The words of the command line, and a plan's file there and back."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prompts import text
from tools.errors import BadValue, RequestError, UnknownModel
from tools.plan.planner import make_plan
from tools.plan.report import plan_from_json, plan_json
from tools.plan.resolve import resolve_arguments

GIB = 1 << 30


def test_copies_counts_machines_and_sizes():
    request = resolve_arguments(
        ["2xQwen/Qwen3-8B@awq", "Qwen/Qwen3-14B"],
        gpu=["2xRTX 3090", "RTX A6000"],
        nodes=2,
        ram="128GB",
        reserved="1GiB",
        context=4096,
        users=2,
        kv_dtype="fp8",
        residency="together",
    )
    assert [(i.precision, i.context, i.users) for i in request.instances] == [
        ("awq", 4096, 2),
        ("awq", 4096, 2),
        ("any", 4096, 2),
    ]
    assert [gpu.node for gpu in request.rig.gpus] == [0, 0, 0, 1, 1, 1]
    assert {gpu.reserved_bytes for gpu in request.rig.gpus} == {GIB}
    assert (request.rig.nodes, request.rig.ram_bytes) == (2, 128 * GIB)
    assert (request.kv_dtype, request.residency) == ("fp8", "together")
    assert "plan.assume_nodes" in {note.code for note in request.assumptions}


def test_vram_is_a_card_of_that_class():
    request = resolve_arguments(["Qwen/Qwen3-8B"], vram="24GB")
    assert request.rig.gpus[0].memory_bytes == 24564 << 20


def test_a_folder_with_a_config_is_a_model(tmp_path):
    folder = tmp_path / "my model; rm -rf"
    folder.mkdir()
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "max_position_embeddings": 40960,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    plan = make_plan(resolve_arguments([], gpu=["RTX 3090"], config=str(folder)))
    assert plan.verdict == "fits"
    assert plan.as_asked.instances[0].name == "my-model-rm-rf"


@pytest.mark.parametrize(
    ("words", "options", "code"),
    [
        ([], {"gpu": ["RTX 3090"]}, "errors_plan.no_model"),
        (["Qwen/Qwen3-8B"], {}, "errors_plan.no_gpu"),
        (["Qwen/Qwen3-8B"], {"gpu": ["-5x3090"]}, "errors_plan.bad_gpus"),
        (["Qwen/Qwen3-8B"], {"gpu": ["600xRTX 3090", "600xRTX 3090"]}, "errors_plan.bad_gpus"),
        (["Qwen/Qwen3-8B"], {"gpu": ["8xRTX 3090"], "nodes": 200}, "errors_plan.bad_gpus"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "nodes": 0}, "errors_plan.bad_nodes"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "users": 0}, "errors_plan.bad_users"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "context": -1}, "errors_plan.bad_context"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "context": 10**12}, "errors_plan.bad_context"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "engine": "warp"}, "errors_plan.bad_engine"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "kv_dtype": "fp3"}, "errors_plan.bad_kv_dtype"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "residency": "never"}, "errors_plan.bad_residency"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "reserved": "30GB"}, "errors_plan.bad_reserved"),
        (["Qwen/Qwen3-8B"], {"gpu": ["RTX 3090"], "ram": "lots"}, "errors.bad_size"),
        (["Qwen/Qwen3-8B"] * 65, {"gpu": ["RTX 3090"]}, "errors_plan.bad_instances"),
    ],
)
def test_each_bad_word_is_one_clear_sentence(words, options, code):
    with pytest.raises(BadValue) as caught:
        resolve_arguments(words, **options)
    assert caught.value.code == code
    for language in ("en", "ru"):
        sentence = text(language, caught.value.code, **caught.value.params)
        assert sentence
        assert "\n" not in sentence
        assert len(sentence) < 250


@pytest.fixture(scope="module")
def written() -> dict:
    plan = make_plan(resolve_arguments(["2xQwen/Qwen3-30B-A3B"], gpu=["RTX PRO 6000"]))
    return json.loads(json.dumps(plan_json(plan)))


def test_the_json_has_the_documented_fields(written):
    assert {"verdict", "rig", "asked", "assumptions", "as_asked", "options", "recommended"} <= written.keys()
    asked = written["as_asked"]
    assert {"verdict", "deficit_bytes", "footprints", "gpus"} <= asked.keys()
    assert {"index", "name", "total_bytes", "reserved_bytes", "used_bytes", "free_bytes"} <= asked["gpus"][0].keys()
    for option in written["options"]:
        assert {"id", "title", "kind", "verdict", "footprints", "gpus", "needs", "costs"} <= option.keys()
        assert option["costs"].keys() == {
            "quality",
            "context_tokens",
            "decode_tokens_per_s",
            "throughput_tokens_per_s",
            "prefill_tokens_per_s",
            "wake_s",
            "ram_bytes",
            "download_bytes",
        }
        for footprint in option["footprints"]:
            assert {"instance", "precision", "checkpoint", "gpu_indices", "flags"} <= footprint.keys()
            assert {
                "gpu-memory-utilization",
                "kv-cache-memory-bytes",
                "max-model-len",
                "max-num-seqs",
            } <= footprint["flags"].keys()


def test_both_languages_have_every_word_of_a_plan():
    plan = make_plan(resolve_arguments(["2xQwen/Qwen3-30B-A3B-Base", "Qwen/Qwen3-8B"], gpu=["2xRTX 3090"]))
    english, russian = plan_json(plan, "en"), plan_json(plan, "ru")
    assert [option["id"] for option in english["options"]] == [option["id"] for option in russian["options"]]
    assert english["reason"] != russian["reason"]


def test_a_plan_read_back_is_the_same_plan(written, models, gpus):
    plan = plan_from_json(written, models, gpus)
    again = json.loads(json.dumps(plan_json(plan)))
    for field in ("verdict", "rig", "asked", "as_asked", "options", "recommended", "reason"):
        assert again[field] == written[field]


def test_figures_of_a_file_are_not_trusted(written, models, gpus):
    forged = copy.deepcopy(written)
    forged["as_asked"]["verdict"] = "fits"
    forged["as_asked"]["footprints"][0]["flags"] = {"trust-remote-code": True}
    forged["options"] = []
    forged["recommended"] = "as_asked; rm -rf /"
    plan = plan_from_json(forged, models, gpus)
    assert plan.as_asked.verdict == "does_not_fit"
    assert plan.recommended == written["recommended"]


@pytest.mark.parametrize(
    "path",
    [("asked",), ("rig",), ("asked", "models"), ("asked", "models", 0, "model"), ("asked", "models", 0, "context")],
)
@pytest.mark.parametrize("value", [None, 7, "x; rm -rf /", [], {}, -1, 10**30, [[[]]], True])
def test_damaged_files_are_refused_in_words(written, models, gpus, path, value):
    damaged = copy.deepcopy(written)
    place = damaged
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    if path[-1] == "context" and value == 7:
        assert plan_from_json(damaged, models, gpus).request.instances[0].context == 7
        return
    with pytest.raises(RequestError) as caught:
        plan_from_json(damaged, models, gpus)
    assert text("en", caught.value.code, **caught.value.params)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(junk, junk, st.sampled_from(["model", "precision", "context", "users", "said"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_junk_in_a_file_is_a_request_error_or_a_plan(written, models, gpus, asked, rig, field):
    row = {**written["asked"]["models"][0], field: asked}
    for data in (
        asked,
        {"asked": asked, "rig": rig},
        {"asked": written["asked"], "rig": rig},
        {"asked": {**written["asked"], "models": [row]}, "rig": written["rig"]},
    ):
        assert outcome(data, models, gpus)


def outcome(data, models, gpus) -> str:
    try:
        return plan_from_json(data, models, gpus).verdict
    except RequestError as error:
        return text("ru", error.code, **error.params)


def test_an_unknown_model_in_a_file_is_named(written, models, gpus):
    other = copy.deepcopy(written)
    other["asked"]["models"][0]["model"] = "nobody/no-such-model-at-all"
    with pytest.raises(UnknownModel):
        plan_from_json(other, models, gpus)

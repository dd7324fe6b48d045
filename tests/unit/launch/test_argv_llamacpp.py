"""llama-server's flags: what the plan counts with is what the engine is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch_factory import make_checkpoint, make_gguf, make_llama

from tools.domain import Encoder, EngineOptions, InstancePlan, Quantization
from tools.errors import BadValue
from tools.launch.argv import engine_argv, engine_flags
from tools.launch.argv.llamacpp import device_environment, llamacpp_argv, llamacpp_flags
from tools.launch.checks.llamacpp import check_llama_flags, flag_faults


def flags(**changes: Any) -> dict[str, Any]:
    return dict(llamacpp_flags(make_llama(**changes)))


def seeing(**changes: Any) -> InstancePlan:
    made = make_llama(**changes)
    model = replace(made.deployment.model, encoder=Encoder(1000, 4096))
    return replace(made, deployment=replace(made.deployment, model=model))


def test_a_published_file_is_named_by_its_type_and_nothing_is_left_to_the_engine():
    assert flags() == {
        "hf-repo": "Org/Model-8B-GGUF:Q4_K_M",
        "alias": "model-a",
        "ctx-size": 4 * 8192,
        "parallel": 4,
        "gpu-layers": "all",
        "fit": "off",
        "verbosity": 4,
    }


def test_a_file_that_has_to_be_made_is_a_path_of_plain_letters():
    made = flags(checkpoint=make_gguf("Org/Mo del;$(x)", "Q6_K", hypothetical=True))
    assert made["model"] == "models/Org-Mo-del-x-Q6_K.gguf"
    assert "hf-repo" not in made
    assert flags(checkpoint=make_checkpoint())["model"] == "models/Org-Model-8B-BF16.gguf"


def test_what_is_planned_for_cards_and_ram_is_said():
    options = EngineOptions(gpu_layers=20, experts_in_ram=7, split=(41, 40), cache_in_ram=True, full_windows=True)
    made = flags(gpus=(0, 1), options=options, kv_dtype="q8_0", max_num_batched_tokens=4096)
    assert made["gpu-layers"] == 20
    assert made["n-cpu-moe"] == 7
    assert (made["split-mode"], made["tensor-split"]) == ("layer", "41,40")
    assert made["no-kv-offload"] is True
    assert made["swa-full"] is True
    assert (made["cache-type-k"], made["cache-type-v"], made["flash-attn"]) == ("q8_0", "q8_0", "on")
    assert (made["batch-size"], made["ubatch-size"]) == (4096, 4096)


def test_cards_share_equally_where_no_shares_are_planned_not_by_what_is_free():
    assert flags(gpus=(0, 1, 2))["tensor-split"] == "1,1,1"
    assert flags(gpus=(0, 1), options=EngineOptions(by_rows=True))["split-mode"] == "row"


def test_a_stated_total_and_one_buffer_for_all():
    made = flags(options=EngineOptions(context_total=10_000, unified=True))
    assert made["ctx-size"] == 10_000
    assert made["kv-unified"] is True


@pytest.mark.parametrize(("asked", "said"), [(None, None), (True, "on"), (False, "off")])
def test_flash_attention_as_asked(asked: bool | None, said: str | None):
    assert flags(options=EngineOptions(flash_attention=asked)).get("flash-attn") == said


def test_a_context_beyond_the_models_own_goes_by_yarn_where_its_publisher_says_how():
    one = make_llama(max_model_len=60_000, max_num_seqs=2)
    named = replace(one.deployment.model, name="Qwen/Qwen3-8B")
    made = llamacpp_flags(replace(one, deployment=replace(one.deployment, model=named)))
    assert (made["rope-scaling"], made["rope-scale"], made["yarn-orig-ctx"]) == ("yarn", "2", 32_768)
    assert made["ctx-size"] == 120_000
    assert "rope-scaling" not in flags(max_model_len=40_960)
    with pytest.raises(BadValue):
        flags(max_model_len=40_961)


def test_values_may_have_a_type_of_their_own():
    made = flags(kv_dtype="f16", options=EngineOptions(value_dtype="q4_0"))
    assert (made["cache-type-k"], made["cache-type-v"], made["flash-attn"]) == ("f16", "q4_0", "on")


def test_images_are_read_in_ram_or_not_at_all():
    assert llamacpp_flags(seeing())["no-mmproj-offload"] is True
    assert llamacpp_flags(seeing(text_only=True))["no-mmproj"] is True
    assert not {"no-mmproj", "no-mmproj-offload"} & set(flags())


def test_several_names_are_one_value():
    assert flags(served=("a", "модель b"))["alias"] == "a,модель b"


@pytest.mark.parametrize("name", ["a,b", " a", "a ", "-a", "", "a\nb"])
def test_a_name_that_the_engine_would_read_otherwise_is_refused(name: str):
    with pytest.raises(BadValue):
        flags(served=(name,))


@pytest.mark.parametrize("repo", ["Org/a b", "Org", "a/b/c", "Org/-x", "Org/x-", "Org/x..y", "Орг/x", "o/" + "x" * 256])
def test_a_repository_that_the_engine_would_not_fetch_is_refused(repo: str):
    with pytest.raises(BadValue):
        flags(checkpoint=make_gguf(repo))


def test_formats_and_caches_of_other_engines_are_refused():
    with pytest.raises(BadValue):
        flags(checkpoint=make_checkpoint(quantization=Quantization("awq", 4)))
    with pytest.raises(BadValue):
        flags(kv_dtype="fp8")


def test_further_flags_win_under_any_of_their_names():
    made = flags(extra_flags=("-ngl", "12", "--metrics", "-np", "2", "--temperature", "-1"))
    assert (made["gpu-layers"], made["parallel"], made["metrics"], made["temp"]) == ("12", "2", True, "-1")
    for words in (("12",), ("-ngl", "1", "2"), ("-ngl",), ("--no-such-flag", "1")):
        with pytest.raises(BadValue):
            flags(extra_flags=words)


def test_every_engine_is_reached_by_its_name():
    one = make_llama()
    assert engine_flags(one) == llamacpp_flags(one)
    assert engine_argv(one)[:3] == ["llama-server", "--hf-repo", "Org/Model-8B-GGUF:Q4_K_M"]


def test_cards_are_shown_by_makers():
    assert device_environment("nvidia", (1, 2)) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,2"}
    assert device_environment("amd", (1,)) == {"HIP_VISIBLE_DEVICES": "1"}
    assert device_environment("intel", (0, 1)) == {"ONEAPI_DEVICE_SELECTOR": "level_zero:0;level_zero:1"}
    assert device_environment("apple", (0,)) == {}


@settings(max_examples=300, deadline=None)
@given(
    gpu_layers=st.none() | st.integers(0, 200),
    experts=st.integers(0, 100),
    cards=st.integers(1, 8),
    split=st.lists(st.floats(0, 1e6), max_size=8),
    flash=st.none() | st.booleans(),
    kind=st.sampled_from(["auto", "f16", "q8_0", "q4_0", "bf16", "fp16"]),
    unified=st.none() | st.booleans(),
    users=st.integers(1, 512),
    context=st.integers(1, 40_960),
)
def test_whatever_is_planned_the_recorded_parser_takes_it(
    gpu_layers: int | None,
    experts: int,
    cards: int,
    split: list[float],
    flash: bool | None,
    kind: str,
    unified: bool | None,
    users: int,
    context: int,
):
    options = EngineOptions(
        gpu_layers=gpu_layers, experts_in_ram=experts, split=tuple(split), flash_attention=flash, unified=unified
    )
    one = make_llama(
        gpus=tuple(range(cards)), options=options, kv_dtype=kind, max_num_seqs=users, max_model_len=context
    )
    argv = llamacpp_argv(one, host="127.0.0.1", port=8000)
    assert check_llama_flags([argv]).ok, check_llama_flags([argv]).detail
    assert argv[argv.index("--ctx-size") + 1] == str(users * context)


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-flag"],
        ["--ctx-size"],
        ["--ctx-size", "many"],
        ["--cache-type-k", "fp8"],
        ["--split-mode", "rows"],
        ["--kv-unified", "true"],
        ["--ctx-size=1"],
        ["model.gguf"],
    ],
)
def test_what_the_parser_would_refuse_is_seen(words: list[str]):
    assert flag_faults(["llama-server", *words])
    assert check_llama_flags([["llama-server", *words]]).ok is False


def test_another_program_is_no_llama_server():
    assert check_llama_flags([["vllm", "serve"]]).ok is False

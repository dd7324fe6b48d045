"""Requests in the words of the command line, their answers, and damaged configs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_registered_bytes import QWEN3_30B

from tools.domain import Deployment
from tools.errors import BadValue, RigfitError
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.units import GIB
from tools.vram.architecture import quantization_from_config, spec_from_config
from tools.vram.estimate import estimate
from tools.vram.flags import read_flags
from tools.vram.request import answer_request, deployment_from_request

MODELS, GPUS = ModelCatalogue.load(), GpuCatalogue.load()


def answer(**fields: Any) -> dict[str, Any]:
    return answer_request(fields, MODELS, GPUS)


def test_a_request_is_answered_with_every_field_of_the_contract():
    said = answer(
        id="7", model="Qwen/Qwen3-30B-A3B", precision="bf16", gpu="RTX PRO 6000 Blackwell", max_model_len=8192
    )
    assert (said["id"], said["ok"], said["error"]) == ("7", True, None)
    assert said["parameter_bytes_per_gpu"] == 61_064_245_248
    assert said["kv_bytes_per_token_per_gpu"] == 98_304
    assert said["kv_pool_bytes_per_gpu"]["low"] <= said["kv_pool_bytes_per_gpu"]["value"]
    assert said["verdict"] == "fits"
    assert said["provenance"]["parameter_bytes_per_gpu"] == "computed"
    json.dumps(said, allow_nan=False)


def test_cards_said_without_ranks_are_shared_by_tensor_parallelism():
    request = deployment_from_request({"model": "Qwen/Qwen3-30B-A3B@bf16", "gpu_count": 2}, MODELS, GPUS)
    assert request.deployment.tp == 2
    assert [note.code for note in request.assumptions if note.code.startswith("vram.")] == ["vram.assume_tp"]


def test_a_model_that_is_not_covered_keeps_its_published_size():
    said = answer(model="microsoft/bitnet-b1.58-2B-4T-bf16", tp=8)
    assert not said["ok"]
    assert "bitnet" in said["error"]
    assert said["weights_bytes_per_gpu"] > 0
    assert said["provenance"]["weights_bytes_per_gpu"] in {"published", "estimated", "computed"}


def test_an_unknown_card_leaves_weights_and_cache_answered():
    said = answer(model="Qwen/Qwen3-30B-A3B", precision="bf16", gpu="no such card at all")
    assert not said["ok"]
    assert said["error"]
    assert said["parameter_bytes_per_gpu"] == 61_064_245_248
    assert said["kv_pool_bytes_per_gpu"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "no such model whatever"},
        {"model": "Qwen/Qwen3-30B-A3B", "precision": "fp7"},
        {"model": "Qwen/Qwen3-30B-A3B", "tp": -1},
        {"model": "Qwen/Qwen3-30B-A3B", "tp": 1.5},
        {"model": "Qwen/Qwen3-30B-A3B", "gpu_memory_utilization": 3},
        {"model": "Qwen/Qwen3-30B-A3B", "max_model_len": 10**30},
        {"model": "Qwen/Qwen3-30B-A3B", "dtype": "int3"},
        {"model": "Qwen/Qwen3-30B-A3B", "wat": 1},
        {"config": "/no/such/folder"},
    ],
)
def test_a_bad_request_gets_one_sentence(fields: dict[str, Any]):
    said = answer(id="x", **fields)
    assert (said["ok"], said["id"]) == (False, "x")
    assert said["error"]
    assert "\n" not in said["error"]


def test_a_card_may_be_said_by_its_memory():
    named = {"model": "Qwen/Qwen3-8B", "gpu": "RTX PRO 5000"}
    assert not answer(**named)["ok"], "sold with 48 and with 72 GB"
    small, large = (answer(**named, vram=size)["kv_pool_bytes_per_gpu"]["value"] for size in ("48GB", "72"))
    assert 0 < small < large
    pro, unnamed = answer(model="Qwen/Qwen3-8B", gpu="RTX PRO 6000"), answer(model="Qwen/Qwen3-8B", vram="98GB")
    assert unnamed["kv_pool_bytes_per_gpu"] == pro["kv_pool_bytes_per_gpu"]
    for damaged in ("much", "-3GB", "0", "9" * 60, [24]):
        said = answer(model="Qwen/Qwen3-8B", vram=damaged)
        assert (said["ok"], "\n" in said["error"]) == (False, False)


def test_a_card_of_two_devices_is_two_ranks():
    def ranks(**more: Any) -> int:
        asked = deployment_from_request({"model": "Qwen/Qwen3-8B", "gpu": "MI250X", **more}, MODELS, GPUS)
        return asked.deployment.tp

    assert [ranks(), ranks(gpu_count=1), ranks(gpu_count=2), ranks(gpu_count=2, tp=1)] == [1, 2, 4, 1]


def test_flags_in_free_text_are_used_where_understood():
    found, notes = read_flags("--enforce-eager --max-num-seqs=8, --cpu-offload-gb 2 MTP n=3 --seed 1")
    assert found == {
        "enforce_eager": True,
        "max_num_seqs": 8,
        "cpu_offload_bytes": 2 << 30,
        "draft": "mtp",
        "draft_tokens": 3,
    }
    assert notes[0].params["flags"] == "--seed 1"
    found, _ = read_flags("EAGLE speculative decoding --block-size 128 --no-enable-prefix-caching")
    assert found == {"draft": "eagle", "block_size": 128, "prefix_caching": False}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "fixed 24 GiB KV pool, speculative depth 7",
            {"kv_cache_memory_bytes": 24 << 30, "draft": "any", "draft_tokens": 7},
        ),
        (
            '--speculative-config {"method": "qwen3_next_mtp", "num_speculative_tokens": 2}',
            {"draft": "mtp", "draft_tokens": 2},
        ),
        ('--speculative-config \'{"model": "a/EAGLE3-b", "num_speculative_tokens": 3}\'', ("eagle", 3)),
        ('{"model":"Qwen/Qwen3-0.6B","num_speculative_tokens":5}', ("none", 5)),
        ('{"method": "ngram", "num_speculative_tokens": 4}', ("none", 4)),
        ("--enable-expert-parallel dspark 7", {"ep": True, "draft": "dspark", "draft_tokens": 7}),
        ("MTP 1, block 64", {"draft": "mtp", "draft_tokens": 1, "block_size": 64}),
        ("--limit-mm-per-prompt image 0 video 0", {"text_only": True}),
        ('--limit-mm-per-prompt {"image": 0, "video": 0}', {"text_only": True}),
        ("--limit-mm-per-prompt image=2,video=0", {}),
        ("VLLM_USE_V1=0", {"engine_generation": "V0"}),
        ("LMCache connector", {"connector": "lmcache"}),
        ('--kv-transfer-config {"kv_connector":"NixlConnector"}', {"connector": "other"}),
        (
            "--kv-cache-memory-bytes 24G --mm-encoder-tp-mode data",
            {"kv_cache_memory_bytes": 24 << 30, "encoder_mode": "data"},
        ),
        ("fp8 KV cache, 2 nodes", {"kv_cache_dtype": "fp8"}),
        ("--data-parallel-size 2 (ray), expert parallel", {"dp": 2, "ep": True}),
    ],
)
def test_settings_in_words_of_their_own_are_understood(text: str, fields: Any):
    if isinstance(fields, tuple):
        fields = {"draft": fields[0], "draft_tokens": fields[1]}
    assert read_flags(text)[0] == fields


def test_what_drafts_is_the_models_own_head_where_only_a_depth_is_said():
    def drafts(model: str, flags: str) -> tuple[str | None, int]:
        asked = deployment_from_request({"model": model, "extra_flags": flags}, MODELS, GPUS).deployment
        return asked.draft, asked.draft_tokens

    assert drafts("Qwen/Qwen3.5-27B", "speculative depth 7") == ("mtp", 7)
    assert drafts("Qwen/Qwen3-8B", "speculative depth 7") == (None, 7)
    assert drafts("Qwen/Qwen3.5-27B", '{"method": "ngram", "num_speculative_tokens": 4}') == (None, 4)


def test_a_connector_takes_the_groups_of_layers_away():
    def sequences(version: str, flags: str) -> float:
        said = answer(
            model="openai/gpt-oss-20b", engine_version=version, extra_flags=flags, kv_cache_memory_bytes=20 << 30
        )
        return said["max_concurrency"]

    assert sequences("0.19.0", "--kv-transfer-config {}") < 0.6 * sequences("0.19.0", "")
    assert sequences("0.22.0", "--kv-transfer-config {}") == sequences("0.22.0", "")
    assert sequences("0.22.0", "LMCache connector") == sequences("0.22.0", "--disable-hybrid-kv-cache-manager")


def test_flags_change_towers_and_states():
    def bytes_of(flags: str, field: str = "parameter_bytes_per_gpu") -> int:
        pool = {"kv_cache_memory_bytes": 20 << 30, "max_model_len": 8192}
        return answer(model="Qwen/Qwen3.5-27B", tp=2, extra_flags=flags, **pool)[field]

    alone, usual, whole = map(bytes_of, ("--language-model-only", "", "--mm-encoder-tp-mode data"))
    assert alone < usual < whole
    assert whole - alone == pytest.approx(2 * (usual - alone), rel=0.03), "two ranks share the tower but for its tables"
    wide, narrow = (bytes_of(f"--mamba-ssm-cache-dtype {kind}", "max_concurrency") for kind in ("float32", "bfloat16"))
    assert wide < narrow
    assert not answer(model="Qwen/Qwen3.5-27B", extra_flags="--mamba-ssm-cache-dtype int3")["ok"]


def test_ultravox_had_its_ear_whole_on_each_rank_before_0_28():
    def weights(version: str) -> float:
        said = answer(model="fixie-ai/ultravox-v0_4", tp=2, engine_version=version)
        return said["weights_bytes_per_gpu"] / GIB

    assert weights("0.6.3") == pytest.approx(8.1626, abs=1e-3), "as logged"
    assert weights("0.6.3") - weights("0.28.0") > 0.25


@given(st.text(max_size=300))
def test_any_hint_is_read(text: str):
    found, _ = read_flags(text)
    assert all(isinstance(name, str) for name in found)


@pytest.mark.timeout(10)
def test_a_hint_of_repetitions_is_read():
    for word in (
        "connector",
        "kv-transfer-config ",
        "limit-mm-per-prompt image ",
        "spec depth ",
        "'method':'",
        "GiB KV ",
    ):
        found, _ = read_flags(word * 2000)
        assert len(found) <= 3, word


def test_a_folder_is_read(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_30B))
    own = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(own))
    said = answer(config=str(tmp_path))
    assert said["ok"]
    assert said["precision"] == "fp8"


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "null", '"x"'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadValue):
        deployment_from_request({"config": str(tmp_path)}, MODELS, GPUS)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-2, 300), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
FIELDS = [
    *QWEN3_30B,
    "sliding_window",
    "layer_types",
    "mlp_layer_types",
    "mlp_only_layers",
    "decoder_sparse_step",
    "text_config",
    "vision_config",
    "use_sliding_window",
    "max_window_layers",
    "architectures",
    "torch_dtype",
    "params_active",
]


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(["qwen3_moe", "llama", "gemma3_text", "glm4_moe", "gpt_oss", "qwen2", "gemma3"]),
    damage=st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=5),
    params=st.one_of(st.none(), st.integers(0, 10**14)),
)
def test_a_damaged_config_gives_an_answer_or_a_clear_error(kind: str, damage: dict[str, Any], params: int | None):
    known: dict[str, Any] = {} if params is None else {"params_total": params}
    try:
        spec = spec_from_config({**QWEN3_30B, "model_type": kind, **damage}, name="damaged", **known)
        footprint = estimate(Deployment(spec, spec.checkpoints[0], max_model_len=4096), None)
    except RigfitError:
        return
    assert footprint.parameter_bytes > 0
    assert footprint.kv_needed_bytes > 0


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["fp8", "gptq", "awq", "mxfp4", "bitsandbytes", "compressed-tensors", "modelopt", "x", 5]),
    fields=st.dictionaries(
        st.sampled_from(["bits", "group_size", "weight_block_size", "config_groups", "ignore", "dynamic", "quant_algo",
                         "modules_to_not_convert", "kv_cache_scheme", "exclude_modules", "sym"]),
        JUNK,
        max_size=4,
    ),
)  # fmt: skip
def test_a_damaged_quantisation_gives_an_answer_or_a_clear_error(method: object, fields: dict[str, Any]):
    try:
        spec = spec_from_config({**QWEN3_30B, "quantization_config": {"quant_method": method, **fields}}, name="x")
        quantization_from_config({"quant_method": method, **fields})
        footprint = estimate(Deployment(spec, spec.checkpoints[0], max_model_len=4096), None)
    except RigfitError:
        return
    assert footprint.parameter_bytes > 0


@pytest.mark.parametrize("word", ["2xRTX 3090", "2 x RTX 3090", "2х3090", "2*RTX 3090"])
def test_a_card_may_carry_its_count(word: str) -> None:
    request = deployment_from_request({"model": "Qwen/Qwen3-30B-A3B@bf16", "gpu": word}, MODELS, GPUS)
    assert request.gpu is not None
    assert request.gpu.name == "NVIDIA GeForce RTX 3090"
    assert request.deployment.tp == 2


@pytest.mark.parametrize("word", ["0xRTX 3090", "-5xRTX 3090"])
def test_no_cards_are_no_cards(word: str) -> None:
    with pytest.raises(BadValue):
        deployment_from_request({"model": "Qwen/Qwen3-30B-A3B@bf16", "gpu": word}, MODELS, GPUS)

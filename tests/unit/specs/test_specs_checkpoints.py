"""Which checkpoint a precision word means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts import text
from tools.errors import BadValue
from tools.specs.checkpoints import ModelRef, checkpoint_note, checkpoints_for, native, parse_model_ref
from tools.specs.formats import WORDS, by_word, from_repository_name, precision_word
from tools.specs.models import ModelCatalogue
from tools.specs.names import parse_name

CATALOGUE = ModelCatalogue.load()
QWEN = CATALOGUE.find("Qwen/Qwen3-30B-A3B").spec
BASE = CATALOGUE.find("Qwen/Qwen3-30B-A3B-Base").spec
GPT_OSS = CATALOGUE.find("openai/gpt-oss-120b").spec
DEEPSEEK = CATALOGUE.find("deepseek-ai/DeepSeek-V3").spec


@pytest.mark.parametrize(
    ("precision", "repo", "method"),
    [
        ("bf16", "Qwen/Qwen3-30B-A3B", "none"),
        ("fp8", "Qwen/Qwen3-30B-A3B-FP8", "fp8_block"),
        ("gptq-int4", "Qwen/Qwen3-30B-A3B-GPTQ-Int4", "gptq"),
        ("int4", "Qwen/Qwen3-30B-A3B-GPTQ-Int4", "gptq"),
        ("w4a16", "RedHatAI/Qwen3-30B-A3B-quantized.w4a16", "w4a16"),
        ("nvfp4", "nvidia/Qwen3-30B-A3B-NVFP4", "nvfp4"),
        ("fp8-online", "Qwen/Qwen3-30B-A3B", "fp8_online"),
        ("bnb-4bit", "Qwen/Qwen3-30B-A3B", "bnb_nf4"),
        ("bnb-8bit", "Qwen/Qwen3-30B-A3B", "bnb_int8"),
        ("any", "Qwen/Qwen3-30B-A3B", "none"),
        ("FP8", "Qwen/Qwen3-30B-A3B-FP8", "fp8_block"),
    ],
)
def test_the_best_checkpoint_of_a_precision(precision: str, repo: str, method: str) -> None:
    first = checkpoints_for(QWEN, precision)[0]
    assert (first.repo, first.quantization.method, first.hypothetical) == (repo, method, False)


def test_layouts_follow_the_publisher() -> None:
    by_repo = {c.repo: c.quantization for c in QWEN.checkpoints}
    assert by_repo["Qwen/Qwen3-30B-A3B-FP8"].block == (128, 128)
    assert by_repo["RedHatAI/Qwen3-30B-A3B-FP8-dynamic"].method == "fp8_channel"
    assert by_repo["RedHatAI/Qwen3-30B-A3B-FP8-block"].method == "fp8_block"
    assert by_repo["Qwen/Qwen3-30B-A3B-GPTQ-Int4"].group_size == 128


FORMATS = {
    "unsloth/Qwen3-8B-GGUF": ("gguf-Q4_K_M", "gguf", 4.85, None),
    "x/Qwen3-8B-Q8_0-GGUF": ("gguf-Q8_0", "gguf", 8.5, None),
    "bartowski/Qwen3-8B-exl2-4.65bpw": ("exl2-4.65", "exl2", 4.65, None),
    "turboderp/Qwen3-8B-exl3-4.0bpw": ("exl3-4", "exl3", 4, None),
    "RedHatAI/Qwen3-8B-quantized.w8a8": ("int8", "int8", 8, -1),
    "RedHatAI/Qwen3-8B-quantized.w8a16": ("w8a16", "w8a16", 8, -1),
    "neuralmagic/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": ("w4a16", "w4a16", 4, 128),
    "RedHatAI/Qwen3-8B-NVFP4A16": ("nvfp4", "nvfp4", 4, 16),
    "Qwen/Qwen3-8B-GPTQ-Int8": ("gptq-int8", "gptq", 8, 128),
    "ISTA-DASLab/gemma-3-27b-it-GPTQ-4b-128g": ("gptq-int4", "gptq", 4, 128),
    "cyankiwi/gemma-4-26B-A4B-it-AWQ-4bit": ("w4a16", "w4a16", 4, 32),
    "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4": ("awq", "awq", 4, 128),
    "Intel/Qwen3-8B-int4-AutoRound": ("w4a16", "w4a16", 4, 128),
    "quocbao747/Ornith-1.5-9B-AWQ-W4A16-g64": ("w4a16", "w4a16", 4, 64),
    "mlx-community/Qwen3-8B-4bit": ("mlx-4bit", "mlx", 4, 64),
    "unsloth/Qwen3-8B-unsloth-bnb-4bit": ("bnb-4bit", "bnb_nf4", 4, 64),
    "QuantTrio/Qwen3-Next-80B-A3B-Instruct-GPTQ-Int4-Int8Mix": ("gptq-int4", "gptq", 4, 128),
    "x/Qwen3-8B-W8A8-FP8": ("fp8", "fp8_tensor", 8, None),
    "somebody/X1-8B-FP8": ("fp8", "fp8_tensor", 8, None),
    "zai-org/GLM-5-FP8": ("fp8", "fp8_block", 8, None),
}


@pytest.mark.parametrize("repo", FORMATS)
def test_a_name_tells_its_format(repo: str) -> None:
    told = from_repository_name(repo, parse_name(repo).quant)
    assert told is not None
    word, quantization = told
    assert (word, quantization.method, quantization.bits, quantization.group_size) == FORMATS[repo]
    assert precision_word(word) == word


@pytest.mark.parametrize("repo", ["x/Qwen3-8B-abliterated", "google/gemma-4-31B-it-qat-q4_0-unquantized", "a/b-BF16"])
def test_a_name_of_sixteen_bits_tells_no_format(repo: str) -> None:
    assert from_repository_name(repo, parse_name(repo).quant) is None


def test_what_a_writer_leaves_alone_is_known_without_its_config() -> None:
    def left(repo: str) -> set[str]:
        told = from_repository_name(repo, parse_name(repo).quant)
        assert told is not None
        return set(told[1].excluded)

    assert {"lm_head", "visual", "mlp.gate", "in_proj_b"} <= left("somebody/Qwen3.5-35B-A3B-AWQ")
    assert "linear_attn" in left("RedHatAI/Qwen3.6-27B-FP8-dynamic") - left("somebody/Qwen3.6-27B-FP8-dynamic")
    assert {"self_attn", "shared_expert"} <= left("Qwen/Qwen3.5-35B-A3B-GPTQ-Int4")
    assert not {"self_attn", "mlp.gate"} & left("Qwen/Qwen3-30B-A3B-GPTQ-Int4")


def test_in_flight_ones_load_the_sixteen_bit_files() -> None:
    for word in ("fp8-online", "bnb-4bit", "bnb-8bit"):
        (made,) = (c for c in checkpoints_for(QWEN, word) if c.in_flight)
        assert (made.repo, made.file_bytes, made.precision) == (QWEN.name, native(QWEN).file_bytes, word)


def test_without_a_published_one_int4_is_in_flight_then_the_nearest_sibling() -> None:
    first, *rest = checkpoints_for(BASE, "int4")
    assert (first.in_flight, first.repo, first.precision) == (True, BASE.name, "bnb-4bit")
    siblings = [c for c in rest if c.sibling_of]
    assert siblings
    assert siblings[0].sibling_of == "Qwen/Qwen3-30B-A3B"
    assert siblings[0].repo == "Qwen/Qwen3-30B-A3B-GPTQ-Int4"
    said = checkpoint_note(siblings[0], BASE)
    assert said is not None
    assert "Qwen/Qwen3-30B-A3B" in text("ru", said.code, **said.params)


def test_a_sibling_has_the_same_structure() -> None:
    for name in CATALOGUE.names()[:300]:
        spec = CATALOGUE.find(name).spec
        for checkpoint in spec.checkpoints:
            if checkpoint.sibling_of:
                assert CATALOGUE.find(checkpoint.sibling_of).spec.layers == spec.layers


def test_a_format_without_a_repository_is_answerable_and_says_so() -> None:
    (made,) = checkpoints_for(QWEN, "mxfp8")
    assert (made.hypothetical, made.precision, made.quantization.method) == (True, "mxfp8", "mxfp8")
    said = checkpoint_note(made, QWEN)
    assert said is not None
    assert said.code == "specs.no_known_repository"
    assert not any(c.hypothetical for word in ("any", "int4") for c in checkpoints_for(QWEN, word))


def test_native_quantisation_is_the_native_checkpoint() -> None:
    assert native(GPT_OSS).quantization.method == "mxfp4"
    assert checkpoints_for(GPT_OSS, "int4")[0].repo == "openai/gpt-oss-120b"
    assert checkpoints_for(GPT_OSS, "any")[0].precision == "mxfp4"
    assert native(DEEPSEEK).quantization.block == (128, 128)
    assert checkpoints_for(DEEPSEEK, "fp8")[0].repo == "deepseek-ai/DeepSeek-V3"


def test_a_quantised_model_is_not_quantised_again_in_flight() -> None:
    assert not [c for c in checkpoints_for(GPT_OSS, "bnb-8bit") if c.in_flight]
    assert not [c for c in checkpoints_for(DEEPSEEK, "any") if c.in_flight]


def test_sixteen_bit_words_set_the_type() -> None:
    assert [c.dtype for c in checkpoints_for(QWEN, "fp16")] == ["float16"]
    assert [c.dtype for c in checkpoints_for(QWEN, "fp32")] == ["float32"]


def test_gguf_by_name() -> None:
    known = checkpoints_for(QWEN, "gguf-q4_0")[0]
    assert (known.repo, known.file_bytes) == ("unsloth/Qwen3-30B-A3B-GGUF", 17_400_000_000)
    assert checkpoints_for(QWEN, "gguf-Q4_K_M")[0].quantization.bits == pytest.approx(4.85)


@pytest.mark.parametrize(
    "word", ["int5", "", "gguf-", "gguf-Q9_Z", "exl2-", "exl2-99", "bf16; ls", "q4", "fp8 ", "x" * 9999]
)
def test_an_unknown_precision_lists_the_allowed_words(word: str) -> None:
    if word == "fp8 ":
        assert precision_word(word) == "fp8"
        return
    with pytest.raises(BadValue) as error:
        checkpoints_for(QWEN, word)
    assert error.value.params["allowed"] == WORDS
    assert "gguf-<TYPE>" in text("ru", error.value.code, **error.value.params)


def test_every_allowed_word_is_read() -> None:
    samples = {"exl2-<BPW>": "exl2-4.0", "exl3-<BPW>": "exl3-2.5", "gguf-<TYPE>": "gguf-UD-Q4_K_XL"}
    for word in WORDS.split():
        canonical = precision_word(samples.get(word, word))
        assert precision_word(canonical) == canonical
        for checkpoint in checkpoints_for(QWEN, canonical):
            assert checkpoint.precision == canonical or canonical in {"int4", "any"}
        assert by_word(canonical)


@pytest.mark.parametrize(
    ("written", "ref"),
    [
        ("Qwen/Qwen3-30B-A3B", ModelRef("Qwen/Qwen3-30B-A3B")),
        ("2xQwen/Qwen3-30B-A3B@bf16", ModelRef("Qwen/Qwen3-30B-A3B", "bf16", 2)),
        ("3х qwen3:14b@AWQ", ModelRef("qwen3:14b", "awq", 3)),
        ("mixtral 8x7b", ModelRef("mixtral 8x7b")),
        (" qwen 30 @ int4", ModelRef("qwen 30", "int4")),
    ],
)
def test_model_references(written: str, ref: ModelRef) -> None:
    assert parse_model_ref(written) == ref


@pytest.mark.parametrize("written", ["", "@bf16", "0xqwen", "-5xqwen", "999999xqwen", "2x", "a@b@c", "qwen@nope"])
def test_bad_references(written: str) -> None:
    if written == "2x":
        assert parse_model_ref(written).name == "2x"  # a name, not a count of nothing
        return
    with pytest.raises(BadValue) as error:
        parse_model_ref(written)
    assert text("en", error.value.code, **error.value.params)


@given(st.integers(1, 64), st.sampled_from(["bf16", "fp8", "int4", "gguf-Q4_K_M", "exl2-4.5"]))
def test_references_round_trip(copies: int, precision: str) -> None:
    assert parse_model_ref(f"{copies}xa/b@{precision}") == ModelRef("a/b", precision, copies)


def test_guessed_formats_are_said() -> None:
    copy = CATALOGUE.find("somebody/Qwen3-30B-A3B-AWQ").spec
    guessed = checkpoint_note(copy.checkpoints[0], copy)
    assert guessed is not None
    assert guessed.code == "specs.format_from_name"
    assert checkpoint_note(native(QWEN), QWEN) is None
    recalled = CATALOGUE.find("meta-llama/Llama-3.1-405B-Instruct-FP8").spec
    said = checkpoint_note(native(recalled), recalled)
    assert said
    assert said.code == "specs.format_recalled"


@pytest.mark.parametrize(
    ("repo", "has_eight_bit"),
    [
        ("somebody/Qwen3.8-27B-NVFP4", True),
        ("unsloth/Huihui-Qwen3.6-27B-NVFP4", True),
        ("RedHatAI/Qwen3.6-27B-NVFP4", False),
        ("nvidia/Qwen3.5-9B-NVFP4", False),
        ("nvidia/Qwen3-30B-A3B-NVFP4", False),
    ],
)
def test_nvfp4_copies_of_late_hybrids_keep_attention_in_eight_bits(repo: str, has_eight_bit: bool) -> None:
    told = from_repository_name(repo, ("nvfp4",))
    assert told is not None
    assert bool(told[1].parts) == has_eight_bit
    assert has_eight_bit != ("linear_attn" in told[1].excluded)

"""Which model a name means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompts import text
from tools.domain import Note
from tools.errors import UnknownModel
from tools.specs.models import ModelCatalogue

CATALOGUE = ModelCatalogue.load()


def found(query: str, **said: object) -> str:
    return CATALOGUE.find(query, **said).spec.name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B"),
        ("qwen/qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B"),
        ("qwen 30", "Qwen/Qwen3-30B-A3B"),
        ("Qwen3-30B", "Qwen/Qwen3-30B-A3B"),
        ("qwen3 30", "Qwen/Qwen3-30B-A3B"),
        ("Qwen 3 30B", "Qwen/Qwen3-30B-A3B"),
        ("квен 30б", "Qwen/Qwen3-30B-A3B"),
        ("квен3 30", "Qwen/Qwen3-30B-A3B"),
        ("квены 30", "Qwen/Qwen3-30B-A3B"),
        ("Qwen3:30b", "Qwen/Qwen3-30B-A3B"),
        ("qwen3:14b", "Qwen/Qwen3-14B"),
        ("qwen 2.5 72b instruct", "Qwen/Qwen2.5-72B-Instruct"),
        ("Qwen3 235B A22B", "Qwen/Qwen3-235B-A22B"),
        ("qwen3 coder 30b", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
        ("квен кодер 32", "Qwen/Qwen2.5-Coder-32B-Instruct"),
        ("qwen3 30b base", "Qwen/Qwen3-30B-A3B-Base"),
        ("Llama 3.1 8B", "meta-llama/Llama-3.1-8B-Instruct"),
        ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("лама 70", "meta-llama/Llama-3.3-70B-Instruct"),
        ("ламу 70б", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama 3 70b", "meta-llama/Meta-Llama-3-70B-Instruct"),
        ("llama3.3", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama-2 7b chat", "meta-llama/Llama-2-7b-chat-hf"),
        ("дипсик р1", "deepseek-ai/DeepSeek-R1"),
        ("deepseek-r1:671b", "deepseek-ai/DeepSeek-R1"),
        ("deepseek-r1:32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"),
        ("deepseek v3", "deepseek-ai/DeepSeek-V3"),
        ("gpt oss 120", "openai/gpt-oss-120b"),
        ("gpt-oss 117b", "openai/gpt-oss-120b"),
        ("gemma 3 27", "google/gemma-3-27b-it"),
        ("phi4", "microsoft/phi-4"),
        ("mixtral 8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        ("command r+", "CohereLabs/c4ai-command-r-plus"),
        ("TinyLlama 1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
        ("qwne3 30b", "Qwen/Qwen3-30B-A3B"),
        ("Qwen3‑30B", "Qwen/Qwen3-30B-A3B"),
        ("«Qwen3–14B»", "Qwen/Qwen3-14B"),
        ("QWEN3_14B", "Qwen/Qwen3-14B"),
        ("qwen 72", "Qwen/Qwen2.5-72B-Instruct"),
        ("Qwen-72B", "Qwen/Qwen-72B"),
        ("internlm2.5 7b chat", "internlm/internlm2_5-7b-chat"),
        ("mistal 7b", "mistralai/Mistral-7B-Instruct-v0.3"),
    ],
)
def test_spoken_names(query: str, name: str) -> None:
    assert found(query) == name


def test_size_and_variant_said_apart() -> None:
    assert found("Qwen", size_b=30) == "Qwen/Qwen3-30B-A3B"
    assert found("Qwen3", size_b=235, variant="A22B") == "Qwen/Qwen3-235B-A22B"
    assert found("Qwen3-Coder", size_b=480, variant="A35B-Instruct") == "Qwen/Qwen3-Coder-480B-A35B-Instruct"
    assert found("Mixtral", variant="8x7B") == "mistralai/Mixtral-8x7B-Instruct-v0.1"


def test_the_choice_is_said_with_what_it_was_chosen_over() -> None:
    match = CATALOGUE.find("qwen 30")
    assert {"Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-Coder-30B-A3B-Instruct"} <= set(match.near_misses)
    assert match.spec.name not in match.near_misses
    (chosen,) = match.notes
    assert match.spec.name in text("ru", chosen.code, **chosen.params)
    assert "Coder" in text("en", chosen.code, **chosen.params)


def test_how_a_name_matched() -> None:
    assert CATALOGUE.find("Qwen/Qwen3-14B").how == "exact"
    assert CATALOGUE.find("Qwen3-14B").how == "exact"
    assert CATALOGUE.find("qwen3:14b").how == "alias"
    assert CATALOGUE.find("qwen 14").how == "fuzzy"
    assert CATALOGUE.find("Qwen/Qwen3-14B-AWQ").how == "base_of"


@pytest.mark.parametrize(
    "query", ["qwen3", "qwen", "дипсик", "llama", "llama3.1", "mixtral", "gpt-oss", "qwen3 coder", "granite 4"]
)
def test_a_family_without_a_size_is_never_silently_one_model(query: str) -> None:
    with pytest.raises(UnknownModel) as error:
        CATALOGUE.find(query)
    assert error.value.code == "errors_specs.ambiguous_model"
    assert "," in str(error.value.params["suggestions"])


@pytest.mark.parametrize(
    ("query", "near"), [("Qwen3 31B", "Qwen3-32B"), ("llama 3.1 13b", "8B"), ("gpt-oss 60b", "20b")]
)
def test_a_size_the_family_lacks_is_never_silently_another(query: str, near: str) -> None:
    with pytest.raises(UnknownModel) as error:
        CATALOGUE.find(query)
    assert error.value.code == "errors_specs.no_such_size"
    assert near in str(error.value.params["suggestions"])


def test_a_size_that_differs_from_the_count_is_said() -> None:
    codes = [n.code for n in CATALOGUE.find("deepseek 671b").notes]
    assert "specs.size_differs" in codes


@pytest.mark.parametrize(
    "query",
    [
        "foo-bar-12b",
        "gpt-5",
        "Qwen9 900b",
        "meditron 70b",
        "saiga",
        "OpenGVLab/InternVL9-8B-hf",
        "Qwen/Qwen2.5-Omni-72B",
        "Qwen/Qwen9-Audio-7B-Instruct",
        "somebody/Qwen3-9B-Embedding",
        "7B model",
        "70",
        "30b",
        ".",
        "--",
    ],
)
def test_the_unknown_is_not_matched_with_something_else(query: str) -> None:
    with pytest.raises(UnknownModel) as error:
        CATALOGUE.find(query)
    for language in ("en", "ru"):
        assert text(language, error.value.code, **error.value.params)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "qwen3 30b; rm -rf /",
        "$(reboot)",
        "qwen3`id`",
        "qwen: {a: b}\n- c",
        "<script>",
        "x" * 10_000,
        "qwen\x00 30",
    ],
)
def test_hostile_text_is_refused(query: str) -> None:
    with pytest.raises(UnknownModel) as error:
        CATALOGUE.find(query)
    assert error.value.code == "errors_specs.unreadable_model"
    assert len(str(error.value.params["name"])) <= 60


@given(st.text(max_size=220))
@settings(max_examples=150, deadline=2000)
def test_any_text_gives_a_model_or_a_clear_error(query: str) -> None:
    try:
        said = CATALOGUE.find(query).notes
    except UnknownModel as error:
        said = (Note(error.code, error.params),)
    for note in said:
        assert text("ru", note.code, **note.params)


def test_every_hub_id_finds_itself() -> None:
    for name in CATALOGUE.names()[:200]:
        match = CATALOGUE.find(name)
        assert (match.spec.name.lower(), match.how) == (name.lower(), "exact")


@pytest.mark.parametrize(
    ("repo", "base", "precision", "method"),
    [
        ("Qwen/Qwen3-30B-A3B-GPTQ-Int4", "Qwen/Qwen3-30B-A3B", "gptq-int4", "gptq"),
        ("Qwen/Qwen3-30B-A3B-FP8", "Qwen/Qwen3-30B-A3B", "fp8", "fp8_block"),
        ("RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16", "meta-llama/Llama-3.3-70B-Instruct", "w4a16", "w4a16"),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "meta-llama/Llama-3.3-70B-Instruct", "fp8", "fp8_channel"),
        ("somebody/Qwen3-30B-A3B-AWQ", "Qwen/Qwen3-30B-A3B", "awq", "awq"),
        ("somebody/Qwen3.6-27B_GPTQ-int4", "Qwen/Qwen3.6-27B", "gptq-int4", "gptq"),
        ("unsloth/Qwen3-14B", "Qwen/Qwen3-14B", "bf16", "none"),
        ("somebody/Qwen3-30B-A3B-abliterated", "Qwen/Qwen3-30B-A3B", "bf16", "none"),
    ],
)
def test_copies_take_the_structure_of_their_base(repo: str, base: str, precision: str, method: str) -> None:
    match = CATALOGUE.find(repo)
    first = match.spec.checkpoints[0]
    assert (match.how, match.spec.name) == ("base_of", base)
    assert (first.repo, first.precision, first.quantization.method) == (repo, precision, method)
    assert match.spec.layers == CATALOGUE.find(base).spec.layers
    assert [n.code for n in match.notes] == ["specs.base_of"]


def test_a_spec_carries_structure_bytes_and_source() -> None:
    spec = CATALOGUE.find("Qwen/Qwen3-30B-A3B").spec
    assert len(spec.layers) == 48
    assert spec.params_total == 30_532_122_624
    assert spec.published_bytes == 61_064_245_248
    assert spec.source
    assert spec.not_exact is None


def test_the_status_of_a_line_is_carried() -> None:
    codes = {n.code for n in CATALOGUE.find("google/gemma-3n-E4B-it").spec.status}
    assert "specs.needs_review" in codes
    codes = {n.code for n in CATALOGUE.find("facebook/opt-125m").spec.status}
    assert "specs.needs_review" in codes
    assert "specs.needs_review" not in {n.code for n in CATALOGUE.find("bigscience/bloom-560m").spec.status}


def test_every_line_becomes_a_spec_and_says_what_it_lacks() -> None:
    exact = 0
    for name in CATALOGUE.names():
        spec = ModelCatalogue.load().find(name).spec if name == CATALOGUE.names()[0] else CATALOGUE.find(name).spec
        assert bool(spec.layers) != (spec.not_exact is not None), name
        for note in (*spec.status, *([spec.not_exact] if spec.not_exact else [])):
            assert text("en", note.code, **note.params)
            assert text("ru", note.code, **note.params)
        exact += bool(spec.layers)
    assert exact > 500


def test_the_catalogue_has_a_date() -> None:
    assert CATALOGUE.date.count("-") == 2


def test_facts_keep_their_sources() -> None:
    facts = CATALOGUE.facts("Qwen/Qwen3-30B-A3B")
    assert facts["source"]
    assert facts["weights_bytes_source"]


@pytest.mark.parametrize(
    "name",
    [
        *(f"OpenGVLab/InternVL{size}" for size in ("2-1B", "2-26B", "2_5-38B", "3-8B", "3-78B", "3_5-30B-A3B")),
        "rednote-hilab/dots.ocr",
        "google/paligemma2-3b-mix-224",
        "LiquidAI/LFM2.5-8B-A1B",
        "ai21labs/AI21-Jamba2-3B",
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        "inclusionAI/Ling-3.0-tiny",
    ],
)
def test_what_transformers_can_not_count_is_counted_here_as_published(name: str) -> None:
    from tools.vram.weights import parameter_count

    spec = CATALOGUE.find(name).spec
    assert parameter_count(spec) == CATALOGUE.facts(name)["params_total"] == spec.params_total
    assert spec.tower_params == 0

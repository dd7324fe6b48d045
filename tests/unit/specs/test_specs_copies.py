"""Whose copy a repository is, by its name: the right base or none."""

from __future__ import annotations

import pytest

from tools.errors import UnknownModel
from tools.specs.copies import base_of
from tools.specs.model_index import ModelIndex
from tools.specs.models import ModelCatalogue

INDEX = ModelIndex()
CATALOGUE = ModelCatalogue.load()

COPIES = {
    "somebody/Qwen3-8B-AWQ": "Qwen/Qwen3-8B",
    "/srv/models/Qwen3-8B-GPTQ-Int4/": "Qwen/Qwen3-8B",
    "cognitivecomputations/DeepSeek-V3-AWQ": "deepseek-ai/DeepSeek-V3",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8": "meta-llama/Llama-3.1-8B-Instruct",
    "neuralmagic/Mixtral-8x7B-Instruct-v0.1-FP8": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "cyankiwi/Qwen3-30B-A3B-Instruct-2507-AWQ-4bit": "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "unsloth/Mistral-Small-24B-Instruct-2501-unsloth-bnb-4bit": "mistralai/Mistral-Small-24B-Instruct-2501",
    "Huihui-ai/Huihui-Qwen3.6-27B-abliterated-AWQ": "Qwen/Qwen3.6-27B",
    "stelterlab/NVIDIA-Nemotron-3-Nano-30B-A3B-AWQ": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "jakiAJK/DeepSeek-R1-Distill-Qwen-7B_GPTQ-int4": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "QuantTrio/MiniMax-M2-AWQ": "MiniMaxAI/MiniMax-M2",
    "bullpoint/Qwen3-Coder-Next-AWQ-4bit": "Qwen/Qwen3-Coder-Next",
    "TheBloke/Llama-2-70B-Chat-AWQ": "meta-llama/Llama-2-70b-chat-hf",
    "XiaomiMiMo/MiMo-V2.6-Flash-MOPD": "XiaomiMiMo/MiMo-V2.6-Flash-RL",  # another stage of training
    "poolside/Laguna-S-2.1-NVFP4-0804": "poolside/Laguna-S-2.1",  # a later date
    "mlx-community/deepseek-ai-DeepSeek-V4-Flash-4bit": "deepseek-ai/DeepSeek-V4-Flash",  # a publisher's mark
    "huihui-ai/Huihui-GLM-4.6-abliterated": "zai-org/GLM-4.6",
    "amd/Kimi-K2-Instruct-MXFP4-Preview": "moonshotai/Kimi-K2-Instruct",
}

NONE = [
    "nvidia/gpt-oss-120b-Eagle3-v3",  # drafts
    "yuhuili/EAGLE-LLaMA3-Instruct-8B",
    "z-lab/Qwen3-8B-DFlash-b16",
    "RadixArk/Qwen3.8-27B-DSpark",
    "google/gemma-4-31B-it-qat-q4_0-unquantized-assistant",
    "Qwen/Qwen3-Embedding-9B",  # another kind
    "llava-hf/llava-onevision-qwen2-9b-ov-hf",
    "somebody/Qwen3.6-28B",  # another size
    "somebody/Qwen3.6-27B-A3B-Coder",
    "AlioLeuchtmann/qwen-3.5-sql-27B-Distill-2B",
    "alwaysgood/qwen35-it",
    "somebody/Qwen-7B-REMOR-GRPO",  # another generation under the first one's name
    "0xSero/GLM-5.1-478B-A42B-REAP-NVFP4",  # cut down
    "togethercomputer/Aurora-Spec-Minimax-M2.5",  # a draft for it
    "DavidAU/MN-GRAND-23.5B-Gutenberg-UNCENSORED-V2-GLM4.7-Thinking",  # named after another's style
    "somebody/my-finetune-AWQ",  # nothing named
    "",
    "-" * 200,
]


@pytest.mark.parametrize("repo", COPIES)
def test_a_copy_that_names_its_base_wholly_is_resolved(repo: str) -> None:
    found = base_of(repo, INDEX)
    assert found is not None
    assert found.hf_id == COPIES[repo]


@pytest.mark.parametrize("repo", NONE)
def test_a_wrong_base_is_worse_than_none(repo: str) -> None:
    assert base_of(repo, INDEX) is None


def test_every_listed_copy_that_a_name_resolves_agrees_with_the_list() -> None:
    for row in INDEX.rows:
        for line in CATALOGUE.facts(row.hf_id).get("quantized", ()):
            found = base_of(line["repo"], INDEX)
            if found is not None and found.hf_id != row.hf_id:
                facts = CATALOGUE.facts(found.hf_id)["config"], CATALOGUE.facts(row.hf_id)["config"]
                assert facts[0]["model_type"] == facts[1]["model_type"], line["repo"]


def test_a_copy_says_whose_it_is_and_keeps_its_padded_width() -> None:
    match = CATALOGUE.find("Qwen/Qwen2.5-72B-Instruct-AWQ")
    assert (match.how, match.spec.name) == ("base_of", "Qwen/Qwen2.5-72B-Instruct")
    assert "specs.base_of" in {n.code for n in match.notes}
    first = match.spec.checkpoints[0]
    assert (first.precision, dict(first.config_overrides)) == ("awq", {"intermediate_size": 29696})
    assert {layer.mlp.intermediate for layer in match.spec.layers if layer.mlp} == {29696}
    own = CATALOGUE.find("Qwen/Qwen2.5-72B-Instruct").spec
    assert {layer.mlp.intermediate for layer in own.layers if layer.mlp} == {29568}


def test_an_id_that_is_less_than_a_name_is_no_copy() -> None:
    with pytest.raises(UnknownModel) as caught:
        CATALOGUE.find("somebody-else/DeepSeek-R1-Distill-Qwen")
    assert caught.value.code in {"errors_specs.unknown_model", "errors_specs.ambiguous_model"}

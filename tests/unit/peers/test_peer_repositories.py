"""What the stand-in hub serves is what the catalogue knows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.specs.models import ModelCatalogue
from tools.vram.weights import parameter_bytes

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from peers.hub import Repository
from peers.repositories import repository_of

MODELS = ModelCatalogue.load()


def served(name: str) -> Repository:
    found = repository_of(name, MODELS)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B-AWQ", "openai/gpt-oss-20b"])
def test_tensors_sum_to_the_checkpoint(name: str):
    spec = MODELS.find(name).spec
    checkpoint = spec.checkpoints[0]
    expected = checkpoint.file_bytes or parameter_bytes(spec, checkpoint)
    assert served(name).weight_bytes == pytest.approx(expected, abs=1)


def test_dtypes_are_the_checkpoints():
    assert set(served("Qwen/Qwen3-0.6B").parameters) == {"BF16"}
    assert {"I32", "F16"} < set(served("Qwen/Qwen3-8B-AWQ").parameters)
    fp8 = served("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic").parameters
    assert fp8["F8_E4M3"] == pytest.approx(68.45e9, rel=0.001)  # 80 layers of 855,638,016 weights each


def test_a_quantised_repository_declares_its_format():
    assert served("Qwen/Qwen3-8B-AWQ").config["quantization_config"]["quant_method"] == "awq"
    assert served("openai/gpt-oss-20b").config["quantization_config"]["quant_method"] == "mxfp4"
    assert "quantization_config" not in served("Qwen/Qwen3-8B").config


def test_every_layer_is_named_and_no_name_twice():
    repository = served("openai/gpt-oss-20b")
    names = [tensor.name for tensor in repository.tensors]
    assert len(names) == len(set(names))
    layers = {int(name.split(".")[2]) for name in names if name.startswith("model.layers.")}
    assert layers == set(range(repository.config["num_hidden_layers"]))


def test_what_the_catalogue_does_not_know_is_not_served():
    assert repository_of("nobody/no-such-model-at-all", MODELS) is None

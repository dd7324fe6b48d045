"""GGUF files tensor by tensor: published files less their 7.8 MB of vocabulary and names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tools.domain import Deployment, Quantization
from tools.errors import NotYetExact
from tools.vram import gguf
from tools.vram.architecture import spec_from_config
from tools.vram.loaded import registered_bytes
from tools.vram.weights import parameter_count

LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
}
HEADER = 7_841_184
"""Llama-3.1-8B's vocabulary, settings and names of tensors in a GGUF file."""


@pytest.mark.parametrize(
    ("mixture", "published"),
    [
        ("Q8_0", 8_540_775_840),
        ("Q6_K", 6_596_011_424),
        ("Q5_K_M", 5_732_992_416),
        ("Q4_K_M", 4_920_739_232),
        ("IQ4_XS", 4_447_667_616),
    ],
)
def test_the_tensors_of_a_published_file(mixture: str, published: int):
    model = spec_from_config(LLAMA_8B, name="x")
    assert gguf.file_bytes(model, mixture) == pytest.approx(published - HEADER, abs=300_000)


def test_every_type_takes_more_than_the_one_below():
    model = spec_from_config(LLAMA_8B, name="x")
    rising = ("IQ1_S", "IQ2_XXS", "IQ2_M", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")
    sizes = [gguf.file_bytes(model, kind) for kind in rising]
    assert sizes == sorted(sizes)
    assert gguf.file_bytes(model, "F16") > 2 * parameter_count(model)


def test_rows_that_are_no_whole_blocks_fall_back_to_blocks_of_32():
    narrow = spec_from_config({**LLAMA_8B, "hidden_size": 896, "num_attention_heads": 14, "head_dim": 64}, name="x")
    assert gguf.file_bytes(narrow, "Q4_K_M") > parameter_count(narrow) * 4.5 / 8


def test_an_unknown_mixture_is_said():
    model = spec_from_config(LLAMA_8B, name="x")
    with pytest.raises(NotYetExact):
        gguf.file_bytes(model, "Q4_K_XL")
    assert not gguf.is_known("Q4_K_XL")


def test_files_come_before_tensors_and_tensors_before_bits():
    model = spec_from_config(LLAMA_8B, name="x")
    plain = replace(model.checkpoints[0], quantization=Quantization("gguf", 4.85, extra={"type": "Q4_K_M"}))
    assert registered_bytes(Deployment(model, plain)) == (gguf.file_bytes(model, "Q4_K_M"),)
    assert registered_bytes(Deployment(model, replace(plain, file_bytes=5_000_000_000))) == (5_000_000_000,)
    dynamic = replace(plain, quantization=Quantization("gguf", 5.0, extra={"type": "Q4_K_XL"}))
    assert registered_bytes(Deployment(model, dynamic)) == (parameter_count(model) * 5 // 8,)


def test_fused_projections_have_a_type_of_their_own():
    phi: dict[str, Any] = {
        "model_type": "phi3",
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "intermediate_size": 17920,
        "vocab_size": 100352,
        "tie_word_embeddings": False,
    }
    found = gguf.parts(spec_from_config(phi, name="x"), "Q4_K_M")
    assert (found.total - found.table) / 2**20 == pytest.approx(8354.71, rel=0.001)  # logged, both cards

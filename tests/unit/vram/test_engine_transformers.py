"""Transformers with bitsandbytes, and ExLlamaV3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_storage_gguf import LLAMA_8B

from tools.domain import Checkpoint, Deployment, EngineOptions, Gpu, Quantization
from tools.errors import NotYetExact
from tools.units import GIB
from tools.vram.architecture import spec_from_config
from tools.vram.engines.transformers import quantised_bytes
from tools.vram.estimate import estimate
from tools.vram.weights import parameter_count


def deployed(quantization: Quantization | None = None, engine: str = "transformers", **said: Any) -> Deployment:
    checkpoint = Checkpoint("x", "bf16", quantization or Quantization())
    config = LLAMA_8B | said.pop("config", {})
    said.setdefault("max_model_len", 8192)
    return Deployment(spec_from_config(config, name="x"), checkpoint, engine=engine, **said)


def test_bytes_of_a_quantised_matrix():
    elements = 4096 * 4096
    assert quantised_bytes(elements, 4096, "bnb_nf4") == 8_388_608 + 262_144 + 4 * 1024
    assert quantised_bytes(elements, 4096, "bnb_nf4", double=False) == 0.5625 * elements
    assert quantised_bytes(elements, 4096, "bnb_int8") == elements + 4 * 4096


def test_sixteen_bits_and_four():
    full = estimate(deployed(), None)
    assert full.weights_bytes == 2 * parameter_count(full.deployment.model)
    four = estimate(deployed(options=EngineOptions(load_bits=4)), None)
    tables = 2 * 2 * 128256 * 4096
    projections = (full.weights_bytes - tables) // 2
    assert four.weights_bytes == pytest.approx(tables + 0.516 * projections, rel=0.001)
    eight = estimate(deployed(options=EngineOptions(load_bits=8)), None)
    assert four.weights_bytes < eight.weights_bytes < full.weights_bytes
    assert estimate(deployed(Quantization("bnb_nf4", 4)), None).weights_bytes == four.weights_bytes


def test_the_cache_grows_with_tokens_and_sequences():
    one = estimate(deployed(), None)
    assert one.kv_bytes_per_token == 131072
    assert one.kv_needed_bytes == 131072 * 8192
    assert estimate(deployed(max_num_seqs=3), None).kv_needed_bytes == 3 * one.kv_needed_bytes


def test_cards_share_whole_layers():
    one, two = estimate(deployed(), None), estimate(deployed(tp=2), None)
    assert one.weights_bytes / 2 < two.weights_bytes < 0.6 * one.weights_bytes
    assert two.kv_needed_bytes == one.kv_needed_bytes // 2


def test_the_verdict_follows_the_card():
    card = Gpu("card", "", 16 * GIB, 16 * GIB, "measured")
    assert estimate(deployed(), card).verdict == "does_not_fit"
    assert estimate(deployed(options=EngineOptions(load_bits=4)), card).verdict == "fits"


def test_exl_files_and_their_cache():
    exl = Quantization("exl3", 4.0)
    full = estimate(deployed(exl, "exllamav3"), None)
    quantised = estimate(deployed(exl, "exllamav3", kv_dtype="q4"), None)
    assert full.weights_bytes < 0.4 * estimate(deployed(), None).weights_bytes
    assert quantised.kv_needed_bytes == pytest.approx(full.kv_needed_bytes * 4.5 / 16, abs=1)
    with pytest.raises(NotYetExact):
        estimate(deployed(None, "exllamav3"), None)


def test_the_web_ui_chooses_its_loader_by_format():
    engine = "text-generation-webui"
    gguf = Quantization("gguf", 4.8, extra={"type": "Q4_K_M"})
    assert estimate(deployed(gguf, engine), None).backend == "GGUF Q4_K_M"
    assert estimate(deployed(Quantization("exl3", 4.0), engine), None).backend == "EXL3"
    assert estimate(deployed(None, engine), None).backend == "unquantised"


def test_what_is_not_known_is_refused():
    experts = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    with pytest.raises(NotYetExact):
        estimate(deployed(config=experts, options=EngineOptions(load_bits=4)), None)
    with pytest.raises(NotYetExact):
        estimate(deployed(Quantization("gguf", 4.8, extra={"type": "Q4_K_M"})), None)
    with pytest.raises(NotYetExact):
        estimate(replace(deployed(), engine="ktransformers"), None)

"""One model served in one way, and what that takes of a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tools.domain.model import Checkpoint, ModelSpec
from tools.domain.words import Band, Note, Provenance, Verdict


@dataclass(frozen=True, slots=True)
class Ranks:
    """GPUs of one pipeline stage that hold a model together.

    Attributes:
        tp: tensor-parallel ranks: they share every projection.
        dp: data-parallel ranks: each has attention and dense blocks (shared among its ``tp``) and a cache of its own.
        ep: experts are spread whole over all ``tp x dp`` ranks, not each of them cut into as many pieces.
        pp: stages of the pipeline, of which they are one.
    """

    tp: int = 1
    dp: int = 1
    ep: bool = False
    pp: int = 1

    @property
    def sharing_an_expert(self) -> int:
        """Ranks among which one expert's width is divided."""
        return 1 if self.ep else self.tp * self.dp

    @property
    def sharing_experts(self) -> int:
        """Ranks among which experts are spread whole."""
        return self.tp * self.dp if self.ep else 1

    @property
    def splits_sequences(self) -> bool:
        """Each rank runs experts on a share of the tokens (``ParallelConfig.use_sequence_parallel_moe``)."""
        return self.ep and self.tp > 1 and self.dp > 1


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings that engines other than vLLM have. ``None`` = the engine's own default.

    Attributes:
        context_total: tokens of all sequences together (llama.cpp ``-c``).
        gpu_layers: layers on cards, counted from the last (``-ngl``); the output is one more.
        experts_in_ram: first layers whose experts stay in RAM (``--n-cpu-moe``).
        split: shares of the layers by card (``-ts``); empty = equal.
        by_rows: cards share every matrix by rows, not whole layers (``-sm row``).
        unified: sequences share one buffer of cells (``-kvu``).
        cache_in_ram: the cache stays in RAM (``-nkvo``).
        full_windows: layers with a sliding window keep every token (``--swa-full``).
        flash_attention: scores are never held as a whole (``-fa``).
        value_dtype: type of cached values where it is not that of keys (``-ctv``).
        static_share: share of the card for weights and cache (SGLang ``--mem-fraction-static``).
        total_tokens: most tokens in the cache (SGLang ``--max-total-tokens``).
        load_bits: 4 or 8: bitsandbytes quantises while Transformers loads (``--load-in-4bit``, ``--load-in-8bit``).
    """

    context_total: int | None = None
    gpu_layers: int | None = None
    experts_in_ram: int = 0
    split: tuple[float, ...] = ()
    by_rows: bool = False
    unified: bool | None = None
    cache_in_ram: bool = False
    full_windows: bool = False
    flash_attention: bool | None = None
    value_dtype: str | None = None
    static_share: float | None = None
    total_tokens: int | None = None
    load_bits: int | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model served by one engine in one way. ``None`` = the engine's own default for that card and version.

    Attributes:
        max_model_len: context a sequence may have, tokens.
        max_num_seqs: sequences at once.
        kv_dtype: ``auto`` (the model's 16-bit type) or ``fp8``.
        gpu_memory_utilization: share of the whole card (vLLM's flag).
        kv_cache_memory_bytes: sets the pool outright (vLLM's flag).
        cpu_offload_bytes: weights held in CPU RAM, per GPU.
        block_size: tokens a block of the cache (``--block-size``).
        prefix_caching: keep blocks of earlier prompts; of models with a state it costs a slot a sequence more.
        cache_groups: False keeps every token of windows too (``--disable-hybrid-kv-cache-manager``).
        draft: what drafts tokens beside the model: ``mtp`` (a layer like its last) or ``eagle`` (one decoder layer).
        draft_tokens: tokens drafted ahead a step by speculative decoding.
        dp: data-parallel ranks (``--data-parallel-size``), each with a cache of its own.
        pp_layers: layers of each pipeline stage where they were set (``VLLM_PP_LAYER_PARTITION``).
        dcp: ranks that share a sequence's cache by position (``--decode-context-parallel-size``).
        offload_experts: only experts may go to RAM (``--cpu-offload-params experts``, ``--offload-params experts``).
        prefetch: layers a group, how many of them are fetched from RAM when they run, and layers fetched ahead.
        weights_elsewhere: another process on the card holds the weights (``--load-format ipc_cache``).
        options: settings of engines other than vLLM.
        text_only: images are not taken: their encoder is neither loaded nor profiled (``--language-model-only``).
    """

    model: ModelSpec
    checkpoint: Checkpoint
    engine: str = "vllm"
    engine_version: str | None = None
    engine_generation: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_dtype: str = "auto"
    tp: int = 1
    pp: int = 1
    ep: bool = False
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None
    enforce_eager: bool = False
    cpu_offload_bytes: int = 0
    sleep_mode: bool = False
    extra_flags: tuple[str, ...] = ()
    block_size: int | None = None
    prefix_caching: bool | None = None
    cache_groups: bool | None = None
    draft: str | None = None
    draft_tokens: int = 0
    dcp: int = 1
    dp: int = 1
    pp_layers: tuple[int, ...] = ()
    text_only: bool = False
    offload_experts: bool = False
    prefetch: tuple[int, int, int] | None = None
    weights_elsewhere: bool = False
    options: EngineOptions = EngineOptions()

    @property
    def ranks(self) -> Ranks:
        """The GPUs of one pipeline stage."""
        return Ranks(self.tp, self.dp, self.ep, self.pp)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a deployment takes on its fullest GPU, by part.

    Attributes:
        parameter_bytes: parameters the engine's model code registers on the fullest rank.
        weights_bytes: what the engine holds after loading with ``backend`` (repacking, buffers).
        kv_bytes_per_token: per GPU; None where caches of several kinds make it no constant.
        kv_needed_bytes: cache for every sequence at its full context, whole blocks.
        kv_pool_bytes: what the engine will reserve; None without a card.
        activation_bytes, cuda_graph_bytes, context_bytes: the other parts of the engine's budget.
        total_bytes: weights + pool (or what is needed, without a card) + activation + graphs + context.
        verdict: ``fits`` where the pool holds at least one sequence of max_model_len; None without a card.
        provenance: by field name.
    """

    deployment: Deployment
    parameter_bytes: int
    weights_bytes: int
    backend: str
    kv_bytes_per_token: int | None
    kv_needed_bytes: int
    kv_pool_bytes: Band | None
    kv_pool_tokens: int | None
    max_concurrency: float | None
    activation_bytes: Band
    cuda_graph_bytes: Band
    context_bytes: Band
    total_bytes: int
    verdict: Verdict | None
    provenance: Mapping[str, Provenance]
    assumptions: tuple[Note, ...] = ()

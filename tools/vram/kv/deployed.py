"""The cache of a deployment: its type, its blocks by the attention backend that card and version take, its plan."""

from __future__ import annotations

from tools.domain import Attention, Deployment, Gpu, Layer, Mixer, MlaAttention
from tools.vram.engines.rules import rules_for, runner_of, version_of
from tools.vram.engines.vllm import batched_tokens_of
from tools.vram.kv.groups import Cache
from tools.vram.kv.plan import CacheFlags, CachePlan, plan, specs_by_stage
from tools.vram.kv.rules import KvRules, kv_rules
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext
from tools.vram.kv.types import element_bytes
from tools.vram.stages import stages_of
from tools.vram.weights import element_bytes as model_bytes

XPU_BLOCK = 64
"""Tokens that attention on Intel cards reads at once (``v1/attention/backends/flash_attn.py``)."""

TURBOQUANT_BLOCK = 2 * BLOCK_TOKENS
"""Blocks of eight bits a value that hold a 16-bit page (``Platform._align_heterogeneous_kv_block_size``)."""


CHOSEN_BLOCK = 128
"""Tokens that MiniMax-M3 chooses together, which are a block of its cache (``minimax_m3/common/indexer.py``)."""
IMAGE_MASK_BLOCK = 64
"""Tokens that both backends of an image mask read at once on data-centre Blackwell."""


def cache_of(deployment: Deployment, gpu: Gpu | None) -> CachePlan:
    """Plan a deployment's cache.

    Args:
        deployment: model, checkpoint, ranks, version and flags.
        gpu: the card, whose generation decides the attention backend; None stands for one of Ampere's or Ada's.

    Raises:
        BadValue: the cache type is not known, or heads do not divide among the ranks.
        NotYetExact: a kind of mixer is not covered.
    """
    context = context_of(deployment, gpu)
    layers, ends = cached_layers(deployment)
    flags = CacheFlags(
        deployment.block_size or backend_block(deployment, gpu, context.dtype),
        deployment.prefix_caching,
        deployment.cache_groups,
        deployment.dcp,
    )
    return plan(layers, ends, context, rules_of(deployment), flags)


def cached_layers(deployment: Deployment) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """The layers that have a cache, a draft head's last, and where each stage's end."""
    layers, ends = deployment.model.layers, [stage.end for stage in stages_of(deployment)]
    if deployment.draft:
        drafting = drafting_layers(deployment)
        layers, ends[-1] = layers + drafting, ends[-1] + len(drafting)
    return layers, tuple(ends)


def drafting_layers(deployment: Deployment) -> tuple[Layer, ...]:
    """The layers of a draft head on the last stage: the model's own head, or one layer of another repository's.

    That has attention like the model's last that keeps every token.

    Llama-3.1-8B with EAGLE caches 33 layers: 135,168 B a token, as logged by vLLM 0.9.1.
    """
    if deployment.draft == "mtp" and deployment.model.draft:
        return deployment.model.draft.layers
    for layer in reversed(deployment.model.layers):
        for mixer in layer.mixers:
            if isinstance(mixer, MlaAttention) or (
                isinstance(mixer, Attention) and not (mixer.window or mixer.chunk or mixer.shares_kv)
            ):
                return (layer,)
    return ()


def context_of(deployment: Deployment, gpu: Gpu | None) -> CacheContext:
    """What decides the size of pages beside the layers.

    Raises:
        BadValue: the cache type is not known.
    """
    dtype = cache_dtype(deployment, gpu)
    width = model_bytes(deployment.checkpoint.dtype)
    return CacheContext(deployment.tp, element_bytes(dtype, width), width, dtype, deployment.draft_tokens)


def declared(deployment: Deployment) -> tuple[Cache, ...]:
    """Count what layers ask for, in pages of ``BLOCK_TOKENS`` tokens, before blocks are aligned and grouped."""
    layers = deployment.model.layers
    asked = specs_by_stage(layers, (len(layers),), context_of(deployment, None))
    return tuple(Cache(spec, stages, BLOCK_TOKENS, spec.page_of(BLOCK_TOKENS)) for spec, stages in asked.items())


def rules_of(deployment: Deployment) -> KvRules:
    """The rules of a deployment's version."""
    accounting = rules_for(deployment.engine_version, deployment.engine_generation)
    return kv_rules(version_of(deployment.engine_version), is_v0=accounting.is_v0)


def cache_dtype(deployment: Deployment, gpu: Gpu | None) -> str:
    """The type that an engine caches in: ``auto`` follows the checkpoint, whose config may ask for fp8.

    Sparse latent attention keeps fp8 in DeepSeek's packed layout, but on data-centre Blackwell from 0.18 on; there
    0.32 gives GLM-5 an fp8 cache unless told otherwise, and cards of Blackwell's other branch know no other layout.
    Source: ``mla_attention.py:_canonicalize_sparse_mla_kv_cache_dtype``, ``models/config.py:GlmMoeDsaForCausalLM``.

    Raises:
        BadValue: the cache type is not known.
    """
    asked = deployment.kv_dtype
    element_bytes(asked, 2)
    if asked == "auto" and deployment.checkpoint.quantization.extra.get("kv_cache") == "fp8":
        asked = "fp8"
    if not any(map(is_sparse, mixers_of(deployment))):
        return asked
    branch, version = generation(gpu), version_of(deployment.engine_version)
    if asked == "auto" and branch == 10 and version >= (0, 32, 0) and deployment.model.model_type == "glm_moe_dsa":
        return "fp8_e4m3"
    if asked.startswith("fp8") and (branch != 10 or version < (0, 18, 0)):
        return "fp8_ds_mla"
    return "fp8_ds_mla" if asked == "auto" and branch == 12 else asked


def backend_block(deployment: Deployment, gpu: Gpu | None, dtype: str) -> int:
    """Tokens of a block that the default attention backend takes.

    Latent attention: FlashMLA (Hopper; from 0.20 on with fp8 only) 64, CUTLASS (data-centre Blackwell before 0.20) 128,
    FlashInfer (from 0.20) 32, Triton 16. Source: ``platforms/cuda.py`` and each backend's
    ``get_supported_kernel_block_sizes``.
    """
    if gpu is not None and gpu.vendor.lower() == "intel":
        return XPU_BLOCK
    if dtype.startswith("turboquant") and all(isinstance(mixer, Attention) for mixer in mixers_of(deployment)):
        return TURBOQUANT_BLOCK
    if any(isinstance(mixer, Attention) and mixer.index_dim for mixer in mixers_of(deployment)):
        return CHOSEN_BLOCK
    if generation(gpu) == 10 and _masks_images(deployment):
        return IMAGE_MASK_BLOCK
    if not any(isinstance(mixer, MlaAttention) and not mixer.expanded for mixer in mixers_of(deployment)):
        return BLOCK_TOKENS
    is_old = version_of(deployment.engine_version) < (0, 20, 0)
    match generation(gpu):
        case 9:
            return 64 if is_old or dtype.startswith("fp8") else BLOCK_TOKENS
        case 10:
            return 128 if is_old else 32
        case _:
            return BLOCK_TOKENS


def _masks_images(deployment: Deployment) -> bool:
    """Whether images see themselves whole, by two backends at once (0.32 ``backends/triton_flashinfer.py``)."""
    if not deployment.model.masks_images or version_of(deployment.engine_version) < (0, 32, 0):
        return False
    return all(isinstance(mixer, Attention) and mixer.head_dim in {256, 512} for mixer in mixers_of(deployment))


def tokens_in_flight(deployment: Deployment, gpu: Gpu | None) -> int:
    """Tokens that may be scheduled and not yet settled (``VllmConfig.max_in_flight_tokens``).

    A step's, before 0.26; then those of every step under way: two with asynchronous scheduling, as many as pipeline
    stages, one more of them with the V2 runner (``VllmConfig.max_concurrent_batches``).
    """
    tokens = batched_tokens_of(deployment, gpu)
    if not rules_of(deployment).overlaps_batches:
        return tokens
    accounting = rules_for(deployment.engine_version, deployment.engine_generation)
    if runner_of(accounting, deployment.model) == "V2":
        return tokens * (deployment.pp + 1)
    return tokens * max(2, deployment.pp)


def generation(gpu: Gpu | None) -> int | None:
    """The first number of a card's compute capability: 9 is Hopper, 10 data-centre Blackwell."""
    if gpu is None or not gpu.compute_capability:
        return None
    whole = gpu.compute_capability.partition(".")[0]
    return int(whole) if whole.isdigit() else None


def mixers_of(deployment: Deployment) -> tuple[Mixer, ...]:
    """Every mixer of a model once."""
    layers = {id(layer): layer for layer in deployment.model.layers}
    return tuple(mixer for layer in layers.values() for mixer in layer.mixers)


def is_sparse(mixer: Mixer) -> bool:
    """Whether a layer attends to tokens chosen by an indexer."""
    return isinstance(mixer, MlaAttention) and mixer.sparse

"""Ollama's settings: what a Modelfile and a server's environment say of an engine process.

Facts from ollama 0.32.15: ``api/types.go`` (``Runner``), ``envconfig/config.go``, ``llm/llama_server.go`` (the server
starts llama-server with ``-c num_ctx*parallel -np parallel -ub num_batch -ngl num_gpu``), ``types/model/name.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tools.domain import Checkpoint, InstancePlan
from tools.errors import BadValue
from tools.launch.argv.llamacpp import MADE, cache_type, gguf_type, is_made, made_name

ALL_LAYERS = 999
"""``num_gpu`` of a model that lies on the cards wholly: more than any has, so that none is left to Ollama's guess."""

BATCH = 512
"""``num_batch`` where the plan has none: llama.cpp's own microbatch, which the plan counts with. Ollama's differs by
free memory (``llamaServerGenerationBatch...``, ``server/sched.go``)."""

ONE_AT_A_TIME = frozenset(
    {"mllama", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen3_next", "lfm2", "lfm2_moe", "nemotron_h"}
)
"""Model types that get one sequence whatever ``OLLAMA_NUM_PARALLEL`` says (``server/sched.go``, ``load``)."""

_NAME = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,79}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})?"
)
_HUB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


def is_name(text: str) -> bool:
    """Whether Ollama takes a text as a local model's name: ``qwen3``, ``me/qwen3:8b`` (``types/model/name.go``)."""
    return _NAME.fullmatch(text) is not None


def model_source(checkpoint: Checkpoint) -> str:
    """Return what ``FROM`` says: ``hf.co/OWNER/NAME:TYPE``, or a file that is made beforehand.

    Raises:
        BadValue: the hub's name is none that Ollama takes, or the format is not GGUF's.
    """
    if is_made(checkpoint):
        return f"./{MADE}{made_name(checkpoint)}"
    if not _HUB.fullmatch(checkpoint.repo):
        raise BadValue("launch_local.bad_repository", repo=checkpoint.repo)
    return f"hf.co/{checkpoint.repo}:{gguf_type(checkpoint)}"


def parameters(instance: InstancePlan, *, cpu: bool = False) -> Mapping[str, int]:
    """Return the ``PARAMETER`` lines of a Modelfile that decide about memory, in a fixed order.

    Args:
        instance: an engine process of a plan.
        cpu: nothing goes to the cards.

    Raises:
        BadValue: the plan wants what Ollama has no setting for.
    """
    deployment, options = instance.deployment, instance.deployment.options
    for asked, setting in (
        (options.experts_in_ram, "experts"),
        (options.cache_in_ram, "cache_in_ram"),
        (options.value_dtype and cache_type(options.value_dtype) != cache_type(deployment.kv_dtype), "values"),
    ):
        if asked:
            raise BadValue(f"launch_local.no_{setting}")
    wanted, reach = deployment.max_model_len or 0, deployment.model.max_context
    if wanted > reach:  # ``effectiveModelContext``, server/sched.go, would cut it to that
        raise BadValue("errors_launch.context_beyond", name=deployment.model.name, asked=wanted, limit=reach)
    layers = ALL_LAYERS if options.gpu_layers is None else options.gpu_layers
    found = {
        "num_ctx": wanted,
        "num_gpu": 0 if cpu else layers,
        "num_batch": deployment.max_num_batched_tokens or BATCH,
    }
    return {name: value for name, value in found.items() if value or name == "num_gpu"}


def server_settings(instances: Sequence[InstancePlan], *, loaded: int, load_s: int) -> dict[str, str]:
    """Return a server's environment, less its address and cards.

    Args:
        instances: what it serves; they agree in sequences, cache and flash attention.
        loaded: models that stay loaded at once.
        load_s: longest time that loading one may stall, seconds.

    Raises:
        BadValue: a cache type that the engine has not.
    """
    first = instances[0].deployment
    kind, flash = cache_type(first.kv_dtype), first.options.flash_attention
    if kind not in {None, "f32", "f16", "bf16"}:
        flash = True
    context = max(instance.deployment.max_model_len or 0 for instance in instances)
    found = {
        "OLLAMA_NUM_PARALLEL": str(first.max_num_seqs or 1),
        "OLLAMA_MAX_LOADED_MODELS": str(loaded),
        "OLLAMA_CONTEXT_LENGTH": str(context) if context else None,
        "OLLAMA_KV_CACHE_TYPE": kind,
        "OLLAMA_FLASH_ATTENTION": None if flash is None else str(int(flash)),
        "OLLAMA_SCHED_SPREAD": "1" if any(len(instance.gpu_indices) > 1 for instance in instances) else None,
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_LOAD_TIMEOUT": f"{load_s}s",
    }
    return {name: value for name, value in found.items() if value is not None}


def shown_cards(vendor: str, devices: Sequence[int], *, cpu: bool = False, unified: bool = False) -> dict[str, str]:
    """Return the variables that show a server some cards only (docs ``gpu.mdx``).

    Args:
        vendor: maker of the cards.
        devices: their numbers.
        cpu: none; no card has the number -1.
        unified: they share the processor's memory: such ones are left out unless asked for, but for NVIDIA's and
            Apple's (``filterIntegratedGPUs``, ``discover/runner.go``).
    """
    listed = "-1" if cpu else ",".join(map(str, devices))
    if vendor == "nvidia":
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": listed}
    names = {"amd": "ROCR_VISIBLE_DEVICES", "intel": "GGML_VK_VISIBLE_DEVICES"}
    if vendor not in names:
        return {}
    return {names[vendor]: listed} | ({"OLLAMA_IGPU_ENABLE": "1"} if unified and not cpu else {})


def modelfile_line(instruction: str, *words: str) -> str:
    """Write one instruction of a Modelfile.

    The grammar (``parser/parser.go``): an instruction, a blank, its value up to the end of the line. Around a whole
    value one or three double quotes may stand, and nothing is escaped: what lies between the first and the last is the
    value. So blanks at its ends need one, and a value that begins with a quote needs three.

    Raises:
        BadValue: the value holds what the grammar cannot carry: a line's end, or a character that is not printed.
    """
    value = words[-1]
    if not value or not value.isprintable():
        raise BadValue("errors_launch.bad_word", value=value)
    quote = '"""' if value.startswith('"') else '"' if value != value.strip() else ""
    quoted = f"{quote}{value}{quote}"
    return " ".join((instruction, *words[:-1], quoted))

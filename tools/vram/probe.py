"""Ask vLLM's own code what a GPU would hold: a script for the interpreter of vLLM's environment, never imported.

No GPU and no weights are needed: the model is built on ``torch.device("meta")``, where tensors have shapes and types
but no memory; vLLM is told that it runs on a CUDA card (``--capability``, 9.0 = Hopper unless said). Kernels that this
build lacks have stand-ins (``pretended.py``), for none is ever run; what one kernel would pad is left as in the file.

Reads JSON lines from standard input and writes one JSON line each::

    {"id": 1, "config": {...config.json...},          # required
     "quant_config": {...hf_quant_config.json...},    # where the repository has one
     "tp": 1, "pp": 1, "dp": 1, "ep": false,          # ranks pretended; the fullest pipeline stage is answered
     "dtype": "bfloat16", "quantization": null, "kv_dtype": "auto", "block_size": null,
     "max_model_len": null,                           # null: the model's own
     "max_num_seqs": null, "max_num_batched_tokens": null,   # null: vLLM's default for an API server on the card
     "memory_bytes": null,                            # the card's memory, which decides those defaults (80 GiB)
     "pool_bytes": 17179869184,                       # where given, "pool" answers what vLLM makes of it
     "arguments": {"enable_prefix_caching": false},   # any further field of vLLM's EngineArgs; with
                                                      # "speculative_config" the draft model is built and counted too
     "detail": false}                                 # true: every tensor, grouped by name and shape

    {"id": 1, "vllm": "0.32.0", "parameter_bytes": 16060522496, "stage_bytes": [...], "parameters": 8030261248,
     "dtypes": {"bfloat16": 8030261248},              # elements by type (packed integers count as they are stored)
     "runner": 2, "block_size": 16, "backends": ["FLASH_ATTN"],
     "kv": [{"kind", "page_bytes", "block", "window", "count", ...}],      # kinds of cache in all stages together;
                                                      # "state_bytes" is a state's page before it is padded
     "pool": {"bytes", "max_model_len", "in_flight_tokens", "layout", "block_bytes", "num_blocks", "tokens",
              "concurrency", "request_bytes", "starts", "groups": [{"kind", "layers", "block", "page_bytes",
              "request_pages"}]}}
    {"id": 1, "error": "ValueError: ..."}             # vLLM refuses the model or the split

With ``--ready`` a first line ``{"ready": true, "vllm": "0.32.0"}`` says that vLLM is imported.

``kv`` is what ``get_kv_cache_spec`` says once vLLM has aligned blocks and pages (``update_block_size_for_backend``).
``pool`` is ``get_kv_cache_configs`` and ``get_kv_cache_capacity`` of those: ``tokens`` and ``concurrency`` are what the
engine prints as "GPU KV cache size" and "Maximum concurrency"; ``starts`` is false where vLLM would refuse the pool as
too small for one request. Example::

    echo '{"id":1,"config":'"$(cat config.json)"',"tp":2,"pool_bytes":17179869184}' | VENV/bin/python probe.py
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pretended import DEFAULT_MEMORY, lift_host_tables, on_meta, pretended_ranks, set_up

DEFAULT_CAPABILITY = "9.0"
THIS_FOLDER = str(Path(__file__).resolve().parent)


def engine_config(case: dict[str, Any], folder: str) -> Any:
    """Write the config to a folder and let vLLM read it as it would read a hub repository."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.usage.usage_lib import UsageContext

    config = dict(case["config"])
    register_type(config)
    (Path(folder) / "config.json").write_text(json.dumps(config))
    if case.get("quant_config"):
        (Path(folder) / "hf_quant_config.json").write_text(json.dumps(case["quant_config"]))
    asked = {
        "dtype": case.get("dtype", "bfloat16"),
        "quantization": case.get("quantization"),
        "kv_cache_dtype": case.get("kv_dtype", "auto"),
        "load_format": case.get("load_format", "auto"),
        "tensor_parallel_size": case.get("tp", 1),
        "pipeline_parallel_size": case.get("pp", 1),
        "enable_expert_parallel": bool(case.get("ep", False)),
    }
    for name in ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size"):
        if case.get(name) is not None:
            asked[name] = case[name]
    arguments = EngineArgs(model=folder, skip_tokenizer_init=True, **asked, **case.get("arguments", {}))
    built = arguments.create_engine_config(UsageContext.OPENAI_API_SERVER)
    built.parallel_config.data_parallel_size = case.get("dp", 1)
    return built


class Fields(dict[str, Any]):
    """A mapping whose entries can be read as attributes, too."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        value = self[name]
        return Fields(value) if isinstance(value, dict) else value


def register_type(config: dict[str, Any]) -> None:
    """Stand in for the configuration class of a family whose own comes with its repository."""
    from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    class Plain(PreTrainedConfig):
        model_type = str(config["model_type"])
        # read before the fields are set, to complete the rotary ones
        max_position_embeddings = config.get("max_position_embeddings")

        @classmethod
        def from_dict(cls, config_dict: dict[str, Any], **rest: Any) -> Any:
            def of_objects(value: Any) -> bool:
                return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)

            more: dict[str, Any] = {name: [*map(Fields, x)] for name, x in config_dict.items() if of_objects(x)}
            if config_dict.get("use_sliding_window") is False:
                more["sliding_window"] = None
            return super().from_dict(config_dict | more | inner_classes(config_dict), **rest)

    name = Plain.model_type
    plain = name in CONFIG_MAPPING and CONFIG_MAPPING[name].__name__ == "Plain"
    if plain or (name not in CONFIG_MAPPING and name not in _CONFIG_REGISTRY):
        AutoConfig.register(name, Plain, exist_ok=plain)


def inner_classes(fields: dict[str, Any]) -> dict[str, Any]:
    """Give the models inside a wrapper classes of their own; the text model is found as ``text_config``, too."""
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    def of(inner: dict[str, Any]) -> Any:
        kind = inner.get("model_type")
        return CONFIG_MAPPING[kind](**inner) if kind in CONFIG_MAPPING else PreTrainedConfig(**inner)

    texts = ("text_config", "llm_config", "language_config")
    held = {name: of(inner) for name, inner in fields.items() if name in texts and isinstance(inner, dict)}
    vision = fields.get("vision_config")
    made = {**held, "text_config": next(iter(held.values()))} if held else {}
    return made | ({"vision_config": of(vision)} if held and isinstance(vision, dict) else {})


def build(config: Any) -> Any:
    """Build the rank's model without memory."""
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.utils.torch_utils import set_default_torch_dtype

    config.compilation_config.static_forward_context.clear()
    if getattr(config.model_config.hf_text_config, "ple_layer_ids", None):
        lift_host_tables()
    with set_current_vllm_config(config), set_default_torch_dtype(config.model_config.dtype), on_meta():
        return initialize_model(config)


def build_draft(config: Any, target: Any) -> Any:
    """Build the draft model on the last stage as a worker does; it shares what it can with the model itself."""
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.utils.torch_utils import set_default_torch_dtype
    from vllm.v1.worker.gpu.spec_decode.eagle import utils

    utils.get_model = initialize_model
    with set_current_vllm_config(config), set_default_torch_dtype(config.model_config.dtype), on_meta():
        return utils.load_eagle_model(target, config)


def measure(case: dict[str, Any], groups: dict[str, Any], memory: list[int]) -> dict[str, Any]:
    """Build each pipeline stage and read its parameters and caches."""
    from vllm import __version__
    from vllm.config import set_current_vllm_config
    from vllm.platforms import current_platform

    memory[0] = int(case.get("memory_bytes") or DEFAULT_MEMORY)
    stages: list[dict[str, Any]] = []
    caches: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = engine_config(case, folder)
        for stage in range(int(case.get("pp", 1))):
            with pretended_ranks(groups, case, stage):
                model = build(config)
                if config.speculative_config and stage == int(case.get("pp", 1)) - 1:
                    model = joined(model, build_draft(config, model))
                with set_current_vllm_config(config):
                    current_platform.update_block_size_for_backend(config)
                stages.append(parameters(model))
                caches.append(kv_specs(config))
        answer: dict[str, Any] = {"id": case.get("id"), "vllm": __version__}
        answer |= max(stages, key=lambda stage: stage["parameter_bytes"])
        answer["stage_bytes"] = [stage["parameter_bytes"] for stage in stages]
        answer |= engine(config) | {"kv": kinds([spec for stage in caches for spec in stage.values()])}
        if case.get("detail"):
            answer |= {"tensors": tensors(model.named_parameters()), "buffers": tensors(model.named_buffers())}
        if case.get("pool_bytes"):
            with set_current_vllm_config(config):
                answer["pool"] = pool(config, caches, int(case["pool_bytes"]))
    return answer


def joined(*models: Any) -> Any:
    """Several models as one, whose shared tensors are found once."""
    from torch.nn import ModuleList

    return ModuleList(models)


def parameters(model: Any) -> dict[str, Any]:
    """Sum every parameter once (tied ones share a tensor)."""
    found = list(model.parameters())
    dtypes: Counter[str] = Counter()
    for tensor in found:
        dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return {
        "parameter_bytes": sum(tensor.numel() * tensor.element_size() for tensor in found),
        "parameters": sum(dtypes.values()),
        "dtypes": dict(dtypes),
    }


def tensors(named: Iterator[tuple[str, Any]]) -> list[list[Any]]:
    """Group tensors of equal name (layer numbers dropped), shape and type."""
    found: Counter[tuple[str, str, str, int]] = Counter()
    for name, tensor in named:
        size = tensor.numel() * tensor.element_size()
        found[re.sub(r"\.\d+\.", ".N.", name), str(tuple(tensor.shape)), str(tensor.dtype), size] += 1
    return [[count, *key] for key, count in found.items()]


def engine(config: Any) -> dict[str, Any]:
    """What the engine chose: runner, block size, attention backends, mode of the states."""
    from vllm.distributed.kv_transfer.kv_connector.utils import get_current_attn_backends

    return {
        "runner": 2 if config.use_v2_model_runner else 1,
        "block_size": config.cache_config.block_size,
        "mamba_mode": config.cache_config.mamba_cache_mode,
        "prefix_caching": config.cache_config.enable_prefix_caching,
        "backends": sorted(backend.get_name() for backend in get_current_attn_backends(config)),
    }


def kv_specs(config: Any) -> dict[str, Any]:
    """Collect each layer's cache specification as a worker does."""
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    return get_kv_cache_spec(config)


def described(spec: Any) -> dict[str, Any]:
    """Return a specification's kind, page and whatever of its fields says how the page is made up."""
    names = {
        "window": "sliding_window",
        "chunk": "attention_chunk_size",
        "heads": "num_kv_heads",
        "head_size": "head_size",
        "head_size_v": "head_size_v",
        "dtype": "dtype",
        "cache_dtype": "cache_dtype_str",
        "compress_ratio": "compress_ratio",
        "shapes": "shapes",
        "dtypes": "dtypes",
    }
    fields = {name: getattr(spec, field, None) for name, field in names.items()}
    said = {name: value for name, value in fields.items() if value is not None and name != "window"}
    plain = json.loads(json.dumps(said, default=lambda value: str(value).removeprefix("torch.")))
    fixed = {"kind": type(spec).__name__, "page_bytes": spec.page_size_bytes, "block": spec.block_size}
    if fixed["kind"] == "MambaSpec":
        fixed["state_bytes"] = spec.real_page_size_bytes
    return fixed | {"window": fields["window"]} | plain


def kinds(specs: list[Any]) -> list[dict[str, Any]]:
    """Count layers of equal specification."""
    found = Counter(json.dumps(described(spec)) for spec in specs)
    return [json.loads(key) | {"count": count} for key, count in found.items()]


def pool(config: Any, caches: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """Let vLLM's cache manager group the layers and cut a pool of ``size`` bytes a rank into blocks."""
    from vllm.distributed.kv_transfer.kv_connector.utils import get_current_attn_backends
    from vllm.v1.attention.backends import utils
    from vllm.v1.core import kv_cache_utils as manager
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs

    register_all_kvcache_specs(config)
    starts: list[bool] = []
    manager._check_enough_kv_cache_memory = lambda have, need, *_: starts.append(have > 0 and need() <= have)
    layouts = utils.get_supported_kv_cache_layouts(get_current_attn_backends(config))
    specs = [spec for stage in caches for spec in stage.values()]
    layout = utils.resolve_kv_cache_layout(config, [[layout.name for layout in layouts]], specs)
    utils.record_kv_cache_layout(config.cache_config, layout.name)
    planned = manager.get_kv_cache_configs(config, caches, [size] * len(caches))
    scheduled = manager.generate_scheduler_kv_cache_config(planned)
    answer = {"bytes": size, "max_model_len": config.model_config.max_model_len, "starts": all(starts)}
    answer |= {"in_flight_tokens": config.max_in_flight_tokens, "layout": layout.name}
    if not scheduled.kv_cache_groups:
        return answer | {"num_blocks": scheduled.num_blocks, "groups": []}
    tokens, concurrency = manager.get_kv_cache_capacity(config, scheduled)
    fullest = max(planned, key=lambda plan: manager._pool_bytes_per_block(config, plan.kv_cache_groups))
    return answer | {
        "block_bytes": manager._pool_bytes_per_block(config, fullest.kv_cache_groups),
        "num_blocks": scheduled.num_blocks,
        "tokens": tokens,
        "concurrency": concurrency,
        "request_bytes": manager._max_memory_usage_bytes_from_groups(config, fullest.kv_cache_groups),
        "groups": [group_of(config, group) for group in fullest.kv_cache_groups],
    }


def group_of(config: Any, group: Any) -> dict[str, Any]:
    """Describe one group of layers that share block tables."""
    spec = group.kv_cache_spec
    parts = list(getattr(spec, "kv_cache_specs", {}).values())
    pages = -(-spec.max_memory_usage_bytes(config) // spec.page_size_bytes)
    first = parts[0] if parts else spec
    return {
        "kind": type(first).__name__,
        "layers": len(group.layer_names),
        "block": spec.block_size,
        "page_bytes": sum(part.page_size_bytes for part in parts) or spec.page_size_bytes * len(group.layer_names),
        "request_pages": pages,
    }


def main() -> None:
    """Answer each line of standard input; whatever libraries print goes to standard error."""
    sys.path.remove(THIS_FOLDER)
    for name, value in {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}.items():
        os.environ.setdefault(name, value)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as scratch:
        tempfile.tempdir = scratch
        os.environ.setdefault("VLLM_CACHE_ROOT", scratch)
        serve(answers)


def serve(answers: TextIO) -> None:
    """Import vLLM and answer case by case; whatever a model meets with is an answer too."""
    groups, memory = set_up(capability())
    if "--ready" in sys.argv:
        from vllm import __version__

        say(answers, {"ready": True, "vllm": __version__})
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = measure(case, groups, memory)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            answer = {"id": case.get("id"), "error": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
        say(answers, answer)


def capability() -> str:
    """Read which card is to be pretended."""
    return sys.argv[sys.argv.index("--capability") + 1] if "--capability" in sys.argv else DEFAULT_CAPABILITY


def say(answers: TextIO, answer: dict[str, Any]) -> None:
    """Write one line."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()

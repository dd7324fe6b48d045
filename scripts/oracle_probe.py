"""Ask vLLM's own model code what a rank registers. Run by the interpreter of vLLM's environment; no GPU, no weights.

Reads JSON lines ``{"id", "config": {...}, "tp": 1, "quantization": null, "dtype": "bfloat16", "detail": false}`` from
standard input and writes one JSON line each: ``{"id", "parameter_bytes", "kv": [{kind, page_bytes, block, window,
count}], "tensors": [[count, name, shape, dtype, bytes]]}`` or ``{"id", "error"}``. Nothing is computed on the model:
it is built on ``torch.device("meta")`` and only shapes and types are read.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

for name, value in {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}.items():
    os.environ.setdefault(name, value)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def lift_platform_checks() -> None:
    """Let the CPU build accept what it has no kernels for; no kernel ever runs, only shapes are read."""
    import torch
    from vllm.model_executor.kernels import linear
    from vllm.model_executor.layers.fused_moe import modular_kernel
    from vllm.model_executor.layers.quantization.utils import marlin_utils
    from vllm.platforms import PlatformEnum

    torch.cpu._is_amx_tile_supported = lambda: True
    marlin_utils._check_marlin_supported = lambda *_, **__: (True, None)
    asked = modular_kernel.FusedMoEExperts.is_supported_config

    def is_supported(kernel: Any, *rest: Any) -> tuple[bool, str | None]:
        answer = asked(kernel, *rest)
        return (True, None) if kernel.__name__.startswith("CPU") or "Emulation" in kernel.__name__ else answer

    modular_kernel.FusedMoEExperts.is_supported_config = staticmethod(is_supported)
    stand_ins = {
        "_POSSIBLE_KERNELS": linear.MarlinLinearKernel,
        "_POSSIBLE_NVFP4_KERNELS": linear.EmulationNvFp4LinearKernel,
        "_POSSIBLE_MXFP8_KERNELS": linear.EmulationMxfp8LinearKernel,
    }
    for table, kernel in stand_ins.items():
        kernel.is_supported = kernel.can_implement = classmethod(lambda *_, **__: (True, None))
        getattr(linear, table)[PlatformEnum.CPU] = [kernel]


def set_up() -> Any:
    """Start a one-process tensor-parallel group whose size can be pretended, and return it."""
    lift_platform_checks()
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed import parallel_state

    with set_current_vllm_config(VllmConfig()):
        rendezvous = f"file://{tempfile.mkdtemp()}/store"
        parallel_state.init_distributed_environment(1, 0, rendezvous, 0, "gloo")
        parallel_state.initialize_model_parallel(1, 1)
    return parallel_state.get_tp_group()


def engine_config(case: dict[str, Any], folder: str) -> Any:
    """Write the config to a folder and let vLLM read it as it would read a hub repository."""
    from vllm.engine.arg_utils import EngineArgs

    config = dict(case["config"])
    register_type(config["model_type"])
    (Path(folder) / "config.json").write_text(json.dumps(config))
    arguments = EngineArgs(
        model=folder,
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=case.get("max_model_len", 2048),
        dtype=case.get("dtype", "bfloat16"),
        quantization=case.get("quantization"),
        kv_cache_dtype=case.get("kv_dtype", "auto"),
        block_size=case.get("block_size", 16),
        load_format=case.get("load_format", "auto"),
    )
    return arguments.create_engine_config()


def register_type(model_type: str) -> None:
    """Stand in for the configuration class of a family whose own comes with its repository."""
    from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    if model_type not in CONFIG_MAPPING and model_type not in _CONFIG_REGISTRY:
        AutoConfig.register(model_type, type("Plain", (PreTrainedConfig,), {"model_type": model_type}))


def measure(case: dict[str, Any], group: Any) -> dict[str, Any]:
    """Build one model on the meta device and read its parameters and KV specs."""
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.utils.torch_utils import set_default_torch_dtype

    group.world_size = 1
    with tempfile.TemporaryDirectory() as folder:
        config = engine_config(case, folder)
        group.world_size = config.parallel_config.tensor_parallel_size = case.get("tp", 1)
        with (
            set_current_vllm_config(config),
            set_default_torch_dtype(config.model_config.dtype),
            torch.device("meta"),
        ):
            model = initialize_model(config)
        answer = {"id": case.get("id"), "parameter_bytes": parameter_bytes(model), "kv": kv_specs(model, config)}
        if case.get("detail"):
            answer["tensors"] = tensors(model)
            answer["buffers"] = tensors(model, buffers=True)
    return answer


def parameter_bytes(model: Any) -> int:
    """Sum the bytes of every parameter once (tied ones share a tensor)."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def tensors(model: Any, buffers: bool = False) -> list[list[Any]]:
    """Group parameters of equal name (layer numbers dropped), shape and type."""
    found: Counter[tuple[str, str, str, int]] = Counter()
    for name, p in model.named_buffers() if buffers else model.named_parameters():
        key = re.sub(r"\.\d+\.", ".N.", name)
        found[key, str(tuple(p.shape)), str(p.dtype), p.numel() * p.element_size()] += 1
    return [[count, *key] for key, count in found.items()]


def kv_specs(model: Any, config: Any) -> list[dict[str, Any]]:
    """Read each attention layer's page size as vLLM's cache manager would."""
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase

    found: Counter[tuple[Any, ...]] = Counter()
    for layer in config.compilation_config.static_forward_context.values():
        if not isinstance(layer, AttentionLayerBase):
            continue
        spec = layer.get_kv_cache_spec(config)
        if spec is not None:
            window = getattr(spec, "sliding_window", None)
            found[type(spec).__name__, spec.page_size_bytes, spec.block_size, window] += 1
    names = ("kind", "page_bytes", "block", "window")
    return [{**dict(zip(names, key, strict=True)), "count": count} for key, count in found.items()]


def main() -> None:
    """Answer each line of standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    group = set_up()
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = measure(case, group)
        except Exception as error:  # noqa: BLE001 - a model vLLM refuses is an answer too
            answer = {"id": case.get("id"), "error": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

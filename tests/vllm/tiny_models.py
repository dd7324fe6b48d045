"""Make two tiny models with random weights, and lay them out as the model hub's cache has them: no network is needed.

Run by the interpreter of vLLM's environment:

    .vllm/bin/python tests/vllm/tiny_models.py HF_HOME

``HF_HOME/hub`` then holds ``rigfit/tiny-qwen3`` and ``rigfit/tiny-qwen3-moe``, each with weights, a tokenizer trained
on the spot and a chat template, and ``HF_HOME`` the marks by which ``download.py`` knows that they are complete. Their
configurations are printed, by repository, as one JSON object.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 4096
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE_WITH_TOOLS = (
    "{%- set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{%- if tools %}<|im_start|>system\n{{ system }}\n# Tools\n<tools>"
    "{%- for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    'Call one as <tool_call>\n{"name": NAME, "arguments": ARGUMENTS}\n</tool_call><|im_end|>\n'
    "{%- elif system %}<|im_start|>system\n{{ system }}<|im_end|>\n{% endif %}"
    "{%- for message in messages if message.role != 'system' %}"
    "{%- if message.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ message.content }}\n</tool_response>"
    "{%- else %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{%- for call in message.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{%- endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, with tools as Hermes has them."""
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}
EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 128,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}


def texts() -> Iterator[str]:
    """Text to train on: the standard library's own source."""
    for file in sorted(Path(os.__file__).parent.glob("*.py"))[:60]:
        yield file.read_text(encoding="utf-8", errors="ignore")


def tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=SPECIAL[0], eos_token=SPECIAL[2], model_max_length=4096
    )
    fast.chat_template = TEMPLATE_WITH_TOOLS
    return fast


def in_cache(home: Path, repo: str, model: Any, words: Any) -> dict[str, Any]:
    """Save a model as one snapshot of its repository; returns its configuration."""
    commit = hashlib.sha1(repo.encode()).hexdigest()
    folder = home / "hub" / ("models--" + repo.replace("/", "--"))
    snapshot = folder / "snapshots" / commit
    model.save_pretrained(snapshot)
    words.save_pretrained(snapshot)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    (home / (".rigfit-complete-" + (repo + "@main").replace("/", "--"))).touch()
    return json.loads((snapshot / "config.json").read_text())


def main() -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(0)
    home, words = Path(sys.argv[1]), tokenizer()
    models = {
        "rigfit/tiny-qwen3": Qwen3ForCausalLM(Qwen3Config(**SIZES)),
        "rigfit/tiny-qwen3-moe": Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **EXPERTS)),
    }
    configs = {repo: in_cache(home, repo, model.to(torch.bfloat16), words) for repo, model in models.items()}
    print(json.dumps(configs))


if __name__ == "__main__":
    main()

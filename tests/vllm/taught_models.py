"""Make a small Qwen3 and teach it a few conversations by heart, laid out as the model hub's cache has models.

Run by the interpreter of vLLM's environment, with what ``lessons.py`` prints as its input:

    .venv/bin/python tests/vllm/lessons.py | .vllm/bin/python tests/vllm/taught_models.py HF_HOME

``HF_HOME/hub`` then holds ``rigfit/Qwen3-3M``, whose words, chat template and ways to think and to call tools are those
of Qwen3, so that vLLM reads them with its own parsers for it. Its configuration is printed, by repository, as one JSON
object, and how well it learnt on standard error.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from tiny_models import SIZES, in_cache

REPO = "rigfit/Qwen3-3M"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Words of Qwen3's tokenizer that vLLM's parsers look for."""
TEMPLATE = (
    "{%- set first = messages[0].content if messages[0].role == 'system' else '' %}"
    "{%- if tools or first %}<|im_start|>system\n{{ first }}"
    "{%- if tools %}\n\n# Tools\n\nSignatures of the functions, within <tools></tools>:\n<tools>"
    "{%- for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n\n"
    "A call is a JSON object within <tool_call></tool_call>:\n<tool_call>\n"
    '{"name": NAME, "arguments": OBJECT}\n</tool_call>'
    "{%- endif %}<|im_end|>\n{% endif %}"
    "{%- for message in messages if message.role != 'system' %}"
    "{%- if message.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ message.content }}\n</tool_response>"
    "{%- else %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{%- for call in message.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{%- endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A Qwen3 conversation, with calls and results as Hermes has them; the assistant's turn begins with its thoughts."""
WINDOW, LAYERS = 128, 2
SEEN = LAYERS * (WINDOW - 1) + 1
"""How many tokens the next one depends on, since every layer looks back by one window: the others need no training."""
SIZE: dict[str, Any] = SIZES | {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 8192,
    "use_sliding_window": True,
    "sliding_window": WINDOW,
    "max_window_layers": 0,
}
ROUNDS, LEARNT, LONGEST_S = 400, 0.03, 240
"""Rounds at most; the mean loss of a token that is good enough; seconds at most."""


def tokenizer(texts: list[str]) -> Any:
    """Train a tokenizer on what it is to read and write, so that prompts are short."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE["vocab_size"] - len(MARKS),
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    made.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=SPECIAL[0], eos_token=SPECIAL[2], model_max_length=8192
    )
    fast.chat_template = TEMPLATE
    return fast


def written(reply: dict[str, Any]) -> str:
    """Write a reply as Qwen3 does; one that says nothing thinks on for ever."""
    calls = "\n".join(
        f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
        for name, arguments in reply.get("tool_calls", ())
    )
    said = f"{reply.get('content', '')}{calls}"
    return f"<think>\n{reply['reasoning']}" + (f"\n</think>\n\n{said}<|im_end|>" if said else "")


def asked(example: dict[str, Any]) -> dict[str, Any]:
    """Return a conversation as vLLM gives it to the template: arguments as objects."""
    messages = json.loads(json.dumps(example["messages"]))
    for message in messages:
        for call in message.get("tool_calls") or ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return {"conversation": messages, "tools": example["tools"]}


def examples(words: Any, lessons: list[dict[str, Any]]) -> list[tuple[Any, int]]:
    """Return what matters of each prompt with its reply, as numbers, and where the reply begins."""
    import torch

    found: list[tuple[Any, int]] = []
    for lesson in lessons:
        prompt = words.apply_chat_template(**asked(lesson), add_generation_prompt=True, tokenize=False)
        before = words(prompt, add_special_tokens=False)["input_ids"][-SEEN:]
        after = words(written(lesson["reply"]), add_special_tokens=False)["input_ids"]
        found.append((torch.tensor([before + after]), len(before)))
    return found


def teach(model: Any, lessons: list[tuple[Any, int]]) -> None:
    """Teach it by heart.

    Raises:
        ValueError: it has not learnt within its time.
    """
    import torch
    from torch.nn.functional import cross_entropy

    began = time.monotonic()
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(ROUNDS):
        losses: list[float] = []
        for tokens, start in lessons:
            hidden = model.model(tokens).last_hidden_state[:, start - 1 : -1]
            loss = cross_entropy(model.lm_head(hidden)[0], tokens[0, start:])
            (loss / len(lessons)).backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 20 == 0:
            print(step, round(time.monotonic() - began, 1), [round(one, 3) for one in losses], file=sys.stderr)
        if max(losses) < LEARNT:
            print(f"learnt in {step} rounds, {time.monotonic() - began:.0f} s", file=sys.stderr)
            return
        if time.monotonic() - began > LONGEST_S:
            break
    raise ValueError(f"not learnt: {losses}")


def main() -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    home, lessons = Path(sys.argv[1]), json.load(sys.stdin)
    words = tokenizer([json.dumps(asked(lesson), ensure_ascii=False) + written(lesson["reply"]) for lesson in lessons])
    model = Qwen3ForCausalLM(Qwen3Config(**SIZE))
    teach(model, examples(words, lessons))
    print(json.dumps({REPO: in_cache(home, REPO, model.to(torch.bfloat16), words)}))


if __name__ == "__main__":
    main()

"""Writes a GGUF file with a tiny random llama in it: half a megabyte that llama.cpp loads and runs.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3). Its words are bytes and the beginnings of
the words of the assistant's own prompt, so that prompts stay short.
"""

from __future__ import annotations

import random
import re
import struct
from array import array
from importlib import resources
from pathlib import Path
from typing import Any

WIDTH, HEADS, INNER, CONTEXT = 32, 2, 64, 16384
_U32, _I32, _F32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_ALIGNED = 32
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def _text(words: str) -> bytes:
    data = words.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """Write a value with its kind."""
    if isinstance(value, list):
        kind = struct.pack("<I", _I32) if isinstance(value[0], int) else _value(value[0])[:4]
        data = b"".join(_value(one)[4:] for one in value)
        return struct.pack("<I", _ARRAY) + kind + struct.pack("<Q", len(value)) + data
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", _F32, value)
    return struct.pack("<II", _U32, value)


def vocabulary() -> tuple[list[str], list[int]]:
    """Return the words and what kind each is."""
    said = "".join(
        (resources.files("prompts") / "llm" / name).read_text("utf-8") for name in ("system.md", "tools.toml")
    )
    begun = {word[:end] for word in re.findall(r"[a-z_]+", said) for end in range(1, len(word) + 1)}
    words = [*sorted(begun), "\u2581", *sorted("\u2581" + word for word in begun)]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * len(bytes_) + [_NORMAL] * len(words)
    return ["<unk>", "<s>", "</s>", *bytes_, *words], kinds


def _metadata(words: list[str], kinds: list[int]) -> dict[str, Any]:
    return {
        "general.architecture": "llama",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": len(words),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.scores": [float(len(word)) for word in words],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }


def _shapes(words: int) -> dict[str, tuple[int, ...]]:
    """Return each tensor's shape, inputs first."""
    square = {f"blk.0.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    return {
        "token_embd.weight": (WIDTH, words),
        "output_norm.weight": (WIDTH,),
        "output.weight": (WIDTH, words),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        **square,
        "blk.0.ffn_gate.weight": (WIDTH, INNER),
        "blk.0.ffn_up.weight": (WIDTH, INNER),
        "blk.0.ffn_down.weight": (INNER, WIDTH),
    }


def write_tiny_gguf(path: Path, seed: int = 0) -> None:
    """Write the file."""
    draw = random.Random(seed)
    words, kinds = vocabulary()
    metadata, shapes = _metadata(words, kinds), _shapes(len(words))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata))
    head += b"".join(_text(name) + _value(value) for name, value in metadata.items())
    data, at = b"", 0
    for name, shape in shapes.items():
        size = shape[0] * (shape[1] if len(shape) > 1 else 1)
        numbers = array("f", [1.0] * size if "norm" in name else [draw.gauss(0, 0.4) for _ in range(size)])
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, at)
        data += numbers.tobytes()
        at += 4 * size
    path.write_bytes(head + b"\0" * (-len(head) % _ALIGNED) + data)

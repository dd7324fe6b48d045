"""Record what a real vLLM streams, byte for byte: thoughts, tool calls in pieces, several at once, answers cut off.

    RIGFIT_VLLM_PYTHON=.vllm/bin/python .venv/bin/python tests/vllm/record_streams.py

writes ``tests/fixtures/streams/*.sse``, which the tests in ``tests/wire`` replay: run it again for another version of
vLLM. It serves the small Qwen3 of ``taught_models.py`` with the parsers that are planned for a Qwen3.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import plan_of, taught
from lessons import ENDLESS, ENGLISH, RUSSIAN, all_asked, asked_by
from running import KEY, engine_specs, running

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
LIMIT, IN_CALL = 400, 50
"""Tokens of a whole answer; those after which the first of two calls has begun and not ended."""


def recordings() -> dict[str, dict[str, Any]]:
    """Return what to ask for each file."""
    (two_calls, answer, later), (call, russian), (endless,) = map(asked_by, (ENGLISH, RUSSIAN, ENDLESS))
    whole = {"two_calls": two_calls, "answer": answer, "later": later, "call": call, "answer_ru": russian}
    asked = {name: {**request, "max_tokens": LIMIT} for name, request in whole.items()}
    return asked | {
        "cut_in_call": {**two_calls, "max_tokens": IN_CALL},
        "cut_in_thought": {**endless, "max_tokens": 40},
    }


def main() -> None:
    (spec,) = engine_specs(plan_of(taught(all_asked()), context=8192, users=2))
    STREAMS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as logs, running([spec], Path(logs)):
        for name, asked in recordings().items():
            body = {key: value for key, value in asked.items() if key != "reply"}
            body |= {"model": spec.served_names[0], "stream": True, "temperature": 0}
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
            request = Request(f"{spec.url}/v1/chat/completions", json.dumps(body).encode(), headers)
            with urlopen(request, timeout=120) as answer:
                (STREAMS / f"{name}.sse").write_bytes(answer.read())


if __name__ == "__main__":
    main()

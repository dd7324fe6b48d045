"""The forms in which a model is offered tools and in which its calls are read."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

ANSWER = "answer"
"""What a model that can't call tools chooses where it wants to write."""
MAX_CALLS = 4
"""Calls at once; a model that wants more repeats itself."""
_WORD_CHARS = 200
_OBJECT_CHARS = 65536
_NEEDS_PLAN = "generate_launch_config"
_PLANS = "calculate_vram"
_CALL_TEXT = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_IDLE = frozenset({"title", "default"})


def offered(tool: BaseTool, *, strict: bool = False) -> dict[str, Any]:
    """Return a tool as OpenAI's format has it: what may be left out is left out rather than null.

    Args:
        tool: what may be called.
        strict: whether the server is to hold the model to the schema of the arguments.
    """
    whole = convert_to_openai_tool(tool)["function"]
    parameters = _lean(whole["parameters"])
    form = {"name": whole["name"], "description": whole["description"], "parameters": parameters}
    return {"type": "function", "function": {**form, "strict": True} if strict else form}


def next_step(tools: Sequence[BaseTool]) -> dict[str, Any]:
    """Return the schema of a choice between the tools and answering."""
    names = [*(tool.name for tool in tools), ANSWER]
    return {"type": "object", "properties": {"next": {"enum": names}}, "required": ["next"]}


def arguments_of(tool: BaseTool) -> dict[str, Any]:
    """Return the schema of a tool's arguments, each word of bounded length: some models never end a string."""
    return _bounded(offered(tool)["function"]["parameters"])


def described(tools: Sequence[BaseTool]) -> str:
    """Write what the tools are for, one a line."""
    return "\n".join(f"- {tool.name}: {tool.description}" for tool in tools)


def calls_to_make(calls: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return each call once, at most ``MAX_CALLS``; files wait for the plan that is made beside them."""
    names = {call["name"] for call in calls}
    seen: set[str] = set()
    kept: list[Any] = []
    for call in calls:
        key = json.dumps([call["name"], call["args"]], sort_keys=True, default=str)
        if key not in seen and not (call["name"] == _NEEDS_PLAN and _PLANS in names):
            kept.append({**call, "id": call.get("id") or call_id()})
        seen.add(key)
    return kept[:MAX_CALLS]


def written_calls(said: str, names: frozenset[str]) -> tuple[str, list[Any], list[Any]]:
    """Take the calls out of a text that a server left in it.

    Returns:
        The text without them; those of known tools; and those that can't be read, with what is wrong with them.

    >>> written_calls('<tool_call>{"name": "calculate_vram", "argu', frozenset({"calculate_vram"}))[2][0]["error"]
    'Unterminated string starting at: line 1 column 28 (char 27)'
    """
    found: list[Any] = []
    wrong: list[Any] = []
    for match in _CALL_TEXT.finditer(said):
        call, error = object_in(match[1])
        if call is None:
            wrong.append({"name": "", "args": match[1], "id": call_id(), "error": error, "type": "invalid_tool_call"})
        elif call.get("name") in names and isinstance(call.get("arguments"), dict):
            found.append({"name": call["name"], "args": call["arguments"], "id": call_id(), "type": "tool_call"})
    return _CALL_TEXT.sub("", said).strip(), found, wrong


def object_in(written: str) -> tuple[dict[str, Any] | None, str]:
    """Return the object that a model wrote, or None and why it is none.

    >>> object_in('{"gpus": [{"memory_gb": 9')
    (None, "Expecting ',' delimiter: line 1 column 26 (char 25)")
    """
    if len(written) > _OBJECT_CHARS:
        return None, f"longer than {_OBJECT_CHARS} characters"
    try:
        found = json.loads(written)
    except (ValueError, RecursionError) as error:
        return None, str(error)
    return (found, "") if isinstance(found, dict) else (None, "not an object")


def call_id() -> str:
    """Return a new name for a call."""
    return f"call_{uuid.uuid4().hex[:12]}"


def _lean(schema: Any) -> Any:
    """Drop titles, defaults and nulls from a schema; a property may have any name."""
    if isinstance(schema, list):
        return [_lean(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
        if len(kinds) == 1:
            schema = {**kinds[0], **{k: v for k, v in schema.items() if k != "anyOf"}}
    lean = {k: _lean(v) for k, v in schema.items() if k not in _IDLE and k != "properties"}
    if "properties" in schema:
        lean["properties"] = {name: _lean(part) for name, part in schema["properties"].items()}
    return lean


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    bounded = {k: _bounded(v) if k == "items" else v for k, v in schema.items()}
    if schema.get("type") == "string" and "enum" not in schema:
        bounded["maxLength"] = _WORD_CHARS
    if schema.get("type") == "array":
        bounded["maxItems"] = 8
    if "properties" in schema:
        bounded["properties"] = {name: _bounded(part) for name, part in schema["properties"].items()}
        bounded["additionalProperties"] = False
    return bounded

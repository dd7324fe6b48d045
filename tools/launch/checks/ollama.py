"""Whether Ollama would take a Modelfile and a server's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tools.errors import BadValue
from tools.launch import pins
from tools.launch.files import Check

INSTRUCTIONS = frozenset(
    {"from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message"}
    | {"requires"}
)
"""``isValidCommand``, ollama ``parser/parser.go``."""

_WHOLE = r"-?\d+"
_NUMBER = r"-?\d+(?:\.\d+)?"
PARAMETERS = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed"), _WHOLE),
    **dict.fromkeys(("num_predict", "top_k", "repeat_last_n", "draft_num_predict"), _WHOLE),
    **dict.fromkeys(("top_p", "min_p", "typical_p", "temperature", "repeat_penalty"), _NUMBER),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), _NUMBER),
    "use_mmap": r"true|false",
    "stop": r".+",
}
"""What parameters may say: ``Options`` and ``Runner``, ollama ``api/types.go``."""

SETTINGS = {
    "OLLAMA_HOST": r"(?:127\.0\.0\.1|0\.0\.0\.0):\d{1,5}",
    "OLLAMA_NUM_PARALLEL": r"[1-9]\d*",
    "OLLAMA_MAX_LOADED_MODELS": r"[1-9]\d*",
    "OLLAMA_CONTEXT_LENGTH": r"[1-9]\d*",
    "OLLAMA_KV_CACHE_TYPE": r"f32|f16|bf16|q8_0|q4_0|q4_1|iq4_nl|q5_0|q5_1",
    "OLLAMA_FLASH_ATTENTION": r"[01]",
    "OLLAMA_SCHED_SPREAD": r"[01]",
    "OLLAMA_IGPU_ENABLE": r"[01]",
    "OLLAMA_KEEP_ALIVE": r"-1|\d+[smh]",
    "OLLAMA_LOAD_TIMEOUT": r"\d+[smh]",
    "CUDA_DEVICE_ORDER": r"PCI_BUS_ID",
    **dict.fromkeys(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"), r"-1|\d+(?:,\d+)*"),
}
"""Variables that the server reads, with what they may say: ollama ``envconfig/config.go``."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a Modelfile: ``name`` in small letters, a parameter's name, the value without quotes."""

    name: str
    parameter: str
    value: str


def read_modelfile(text: str) -> tuple[Instruction, ...]:
    """Read a Modelfile by its grammar, more strictly than Ollama does: one line an instruction.

    Ollama reads letters up to a blank as the instruction, for ``PARAMETER`` and ``MESSAGE`` a word more, then the value
    to the end of the line; ``"..."`` and triple quotes around a whole value are taken off, with no escapes within. It
    leaves out characters that are not printed; here they are an error, and so is a value over several lines.

    Raises:
        BadValue: what the grammar does not know.
    """
    found: list[Instruction] = []
    for line in re.split(r"[\r\n]", text):
        if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
            continue
        match = re.fullmatch(r"[ \t]*([A-Za-z]+)[ \t](.+)", line)
        if match is None or match[1].lower() not in INSTRUCTIONS or not line.replace("\t", " ").isprintable():
            raise BadValue("launch_local.bad_modelfile", line=line[:80])
        name, rest = match[1].lower(), match[2]
        parameter = ""
        if name in {"parameter", "message"}:
            parameter, _, rest = rest.partition(" ")
            if not re.fullmatch(r"[A-Za-z0-9_]+" if name == "parameter" else r"system|user|assistant", parameter):
                raise BadValue("launch_local.bad_modelfile", line=line[:80])
        found.append(Instruction(name, parameter, _unquoted(rest.strip(), line)))
    if not any(one.name == "from" for one in found):
        raise BadValue("launch_local.bad_modelfile", line="FROM")
    return tuple(found)


def _unquoted(value: str, line: str) -> str:
    for quote in ('"""', '"'):
        if value.startswith(quote):
            if len(value) < 2 * len(quote) or not value.endswith(quote):
                raise BadValue("launch_local.bad_modelfile", line=line[:80])
            return value[len(quote) : -len(quote)]
    if not value:
        raise BadValue("launch_local.bad_modelfile", line=line[:80])
    return value


def check_modelfiles(texts: Iterable[str]) -> Check:
    """Whether Modelfiles follow the grammar, with parameters that exist and are of their type."""
    faults: list[str] = []
    for text in texts:
        try:
            faults += [fault for one in read_modelfile(text) for fault in _faults(one)]
        except BadValue as error:
            faults.append(str(error))
    if faults:
        return Check("ollama-modelfile", False, "; ".join(faults))
    return Check("ollama-modelfile", True, f"follows the grammar and the parameters of Ollama {pins.OLLAMA}")


def _faults(one: Instruction) -> list[str]:
    if one.name != "parameter":
        return []
    allowed = PARAMETERS.get(one.parameter)
    if allowed is None:
        return [f"{one.parameter} is not a parameter"]
    return [] if re.fullmatch(allowed, one.value) else [f"{one.parameter} can't be {one.value}"]


def check_settings(servers: Iterable[Mapping[str, str]]) -> Check:
    """Whether servers' variables are ones that Ollama reads, with values that it understands."""
    faults = [
        f"{name} can't be {value}"
        for settings in servers
        for name, value in settings.items()
        if not re.fullmatch(SETTINGS.get(name, r"(?!)"), value)
    ]
    if faults:
        return Check("ollama-settings", False, "; ".join(faults))
    return Check("ollama-settings", True, f"every variable is read by Ollama {pins.OLLAMA}")

"""Which modules a checkpoint's config means: exact paths, parts of paths, shell patterns, regular expressions.

Writers name modules as the Hugging Face model does, and each of vLLM's readers compares them in its own way
(``Quantization.naming``; vLLM 0.32, ``vllm/model_executor/layers/quantization/``):

- ``exact``: the whole path (``utils/quant_utils.py:is_layer_skipped``: FP8, MXFP4);
- ``substring``: any part of the path (``auto_awq.py``);
- ``regex``: the whole path, or a match of what follows ``re:`` (``compressed_tensors/utils.py``, Quark);
- ``fused``: regular expressions that see a fused module's own name alone (GPTQ's ``dynamic``);
- ``wildcard``: the path, a part of it, or a shell pattern (``modelopt.py``);
- ``any``: all of these, and parts of a fused module one by one, where the writer is not known.

A fused module (``qkv_proj``) counts as named if each of its parts is; vLLM refuses where only some are.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from tools.errors import BadValue

ROOTS = ("model.layers", "language_model.model.layers", "model.language_model.layers", "backbone.layers")
"""Where the decoder's layers lie in models of different wrappers."""
OUTER_ROOTS = ("", "model.", "language_model.")
"""Where the modules outside the layers lie."""

FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"),
    "in_proj_ba": ("in_proj_b", "in_proj_a"),
    "fused_qkv_a_proj": ("q_a_proj", "kv_a_proj_with_mqa"),
}
"""Modules the engine fuses, by what checkpoints call their parts (the models' ``packed_modules_mapping``)."""

_EXPERT = ("0.gate_proj", "0.up_proj", "0.down_proj")
"""The projections of the first expert; compressed-tensors looks a mixture's format up by them."""

MAX_PATTERN = 300
"""A longer exclusion pattern is not a module name."""

_REPEATED_GROUP = re.compile(r"\)[*+{]")
_REPEAT = re.compile(r"[*+{]")
MAX_REPEATS = 4
"""Patterns that repeat a group, or repeat more often, could take for ever, and none is needed to name a module."""

_IN_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,4})\.(.+)", re.DOTALL)
_OTHER_STACK = re.compile(r"vision|visual|audio|tower|mtp|encoder|draft|eagle")
_ALIASES = (("block_sparse_moe", "mlp"), ("feed_forward", "mlp"), ("shared_experts", "shared_expert"))
_CONTAINERS = frozenset({"self_attn", "mlp", "mamba", "linear_attn"})
"""What layers keep their modules in; Nemotron-H calls each of them ``mixer``."""
_OWN_MIXER = re.compile(r"\.mixer\b")


@dataclass(frozen=True, slots=True)
class Names:
    """A list of module names, sorted by how they can be compared.

    Attributes:
        naming: see the module.
        here: by layer number, what follows it in names that give one.
        bare: names without a layer's number.
        shells: shell patterns for any layer.
        regexes: regular expressions.
        numbered: a pattern has a number in it, so each layer must be asked for itself.
        one_mixer: names call attention, experts and states alike ``mixer``.
        roots: where the layers lie.
    """

    naming: str
    here: dict[int, tuple[str, ...]]
    bare: tuple[str, ...]
    shells: tuple[str, ...]
    regexes: tuple[re.Pattern[str], ...]
    numbered: bool
    one_mixer: bool
    roots: tuple[str, ...] = ROOTS

    @property
    def by_layer(self) -> bool:
        """Whether layers are told apart by their number."""
        return self.numbered or bool(self.here)

    def signature(self, layer: int) -> Hashable:
        """Return a value that is equal for layers whose modules are named alike."""
        return self.here.get(layer, ()), layer if self.numbered else -1

    def hold(self, path: str, layer: int | None = None) -> bool:
        """Tell whether a module is named.

        Args:
            path: inside its layer (``self_attn.qkv_proj``, ``mlp.experts``), or from the root where there is no layer.
            layer: its number, or None.

        Raises:
            BadValue: some parts of a fused module are named and others not; vLLM refuses such a checkpoint.
        """
        path = self._own(path)
        if path.rpartition(".")[2] == "experts":
            return self._holds_experts(path, layer)
        if self._named(path, layer):
            return True
        parts = FUSED.get(path.rpartition(".")[2])
        if parts is None or self.naming == "fused":
            return False
        root = path.rpartition(".")[0]
        found = [self._named(f"{root}.{part}", layer) for part in parts]
        if any(found) and not all(found) and self.naming != "any":
            raise BadValue("errors_vram.parts_differ", what=path)
        return any(found)

    def _own(self, path: str) -> str:
        path = _canonical(path)
        head, dot, rest = path.partition(".")
        return f"mixer.{rest}" if dot and self.one_mixer and head in _CONTAINERS else path

    def _holds_experts(self, path: str, layer: int | None) -> bool:
        if self.naming == "regex":
            return all(self._named(f"{path}.{part}", layer) for part in _EXPERT)
        below = any(name.startswith(path + ".") for name in self.here.get(-1 if layer is None else layer, ()))
        if self.naming in {"exact", "wildcard", "any"} and below:
            return True
        return self._named(path, layer)

    def _named(self, path: str, layer: int | None) -> bool:
        here = self.bare if layer is None else self.here.get(layer, ())
        roots = OUTER_ROOTS if layer is None else tuple(f"{root}.{layer}." for root in self.roots)
        full = tuple(root + path for root in roots)
        if path in here or (layer is None and any(name in here for name in full)):
            return True
        if self.naming == "exact":
            return False
        if any(regex.match(name) for regex in self.regexes for name in full):
            return True
        if self.naming in {"regex", "fused"}:
            return False
        if self.naming == "any":
            return self._alike(path, here) or self._alike(full[0], self.bare) or self._shelled(path, here, full)
        parts = any(name in path for name in here) or any(name in full[0] for name in self.bare)
        return parts or (self.naming == "wildcard" and self._shelled(path, here, full))

    def _shelled(self, path: str, here: tuple[str, ...], full: tuple[str, ...]) -> bool:
        if any("*" in name and fnmatch.fnmatchcase(path, name) for name in here):
            return True
        return any(fnmatch.fnmatchcase(name, shell) for shell in self.shells for name in full)

    @staticmethod
    def _alike(path: str, names: tuple[str, ...]) -> bool:
        """Compare whole components: a name is the path, its beginning, its end or lies inside."""
        return any(f".{name}." in f".{path}." for name in names)


@lru_cache(maxsize=128)
def names_of(names: tuple[str, ...], naming: str, one_mixer: bool = False, roots: tuple[str, ...] = ROOTS) -> Names:
    """Sort names and patterns for comparing; hostile patterns are left out.

    Args:
        names: as the checkpoint lists them.
        naming: how they are meant.
        one_mixer: the model calls whatever a layer holds ``mixer``; taken for granted where the names do.
        roots: where the layers asked about lie.
    """
    is_decoder = roots == ROOTS
    here: dict[int, list[str]] = {}
    bare: list[str] = []
    shells: list[str] = []
    regexes: list[re.Pattern[str]] = []
    numbered = False
    for raw in names:
        name = _canonical(raw)
        if name.startswith("re:"):
            found = _regex(name[3:])
            regexes += [found] if found else []
            numbered |= found is not None and bool(re.search(r"\d", name))
            continue
        inside = _IN_LAYER.search(name)
        if inside and "*" not in name[: inside.start(2)]:
            place = name[: inside.start()]
            if is_decoder and _OTHER_STACK.search(place):
                bare += [name] if int(inside[1]) == 0 else []  # a tower's equal layers are asked about as its first
            elif is_decoder or f"{place}.layers" in roots:
                here.setdefault(int(inside[1]), []).extend(_below(inside[2]))
        elif "*" in name:
            shells += [name, f"{name}.*"] if naming == "any" else _below(name)
            numbered |= bool(re.search(r"\d", name))
        else:
            bare.append(name)
            numbered |= "layers." in name and naming in {"substring", "wildcard", "any"}
    one_mixer = one_mixer or any(_OWN_MIXER.search(name) for name in names)
    by_layer = {layer: tuple(sorted(set(rest))) for layer, rest in here.items()}
    return Names(naming, by_layer, tuple(bare), tuple(shells), tuple(regexes), numbered, one_mixer, roots)


def _below(pattern: str) -> list[str]:
    """``self_attn*`` names a module and everything below it; the star alone would name its neighbours too."""
    if pattern.endswith("*") and not pattern.endswith((".*", "**")) and "*" not in pattern[:-1]:
        return [pattern[:-1], pattern[:-1] + ".*", pattern]
    return [pattern]


def _canonical(name: str) -> str:
    for written, ours in _ALIASES:
        name = name.replace(written, ours)
    return name


@lru_cache(maxsize=512)
def _regex(pattern: str) -> re.Pattern[str] | None:
    if len(pattern) > MAX_PATTERN or _REPEATED_GROUP.search(pattern) or len(_REPEAT.findall(pattern)) > MAX_REPEATS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of sets that a later Python may read otherwise
            return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None

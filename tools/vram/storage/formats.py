"""The format of each module of a checkpoint: its own, the checkpoint's, or none."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from tools.domain import Attention, MlaAttention, Quantization
from tools.vram.storage.matrix import Matrix
from tools.vram.storage.names import ROOTS, Names, names_of
from tools.vram.storage.rules import SMALLEST_BLOCK, runs_on_marlin

_USUAL = ("lm_head",)
"""``Quantization.excluded`` when nothing was read: then the router stays in 16 bits too, except with GPTQ."""

HEAD = "lm_head"


@dataclass(frozen=True, slots=True)
class Formats:
    """One checkpoint's formats, ready to be asked module by module.

    Attributes:
        whole: the checkpoint's.
        kept: what it leaves as it is.
        parts: what it stores otherwise.
    """

    whole: Quantization
    kept: Names
    parts: tuple[tuple[Names, Quantization], ...]

    @property
    def is_plain(self) -> bool:
        """Nothing at all is quantised."""
        return self.whole.method == "none" and not self.parts

    @property
    def by_layer(self) -> bool:
        """Whether a name or pattern tells layers apart by their number."""
        return self.kept.by_layer or any(names.by_layer for names, _ in self.parts)

    def signature(self, layer: int) -> Hashable:
        """Return a value that is equal for layers that are stored alike."""
        if not self.parts:
            return self.kept.signature(layer)
        return self.kept.signature(layer), *(names.signature(layer) for names, _ in self.parts)

    def of(self, matrix: Matrix, layer: int | None = None) -> Quantization | None:
        """Return the format of a module, or None where it stays in the model's own type.

        Args:
            matrix: the module.
            layer: the number of its layer, or None outside the layers.

        Raises:
            BadValue: the parts of a fused module are stored differently; vLLM refuses such a checkpoint.
        """
        if matrix.plain or self.is_plain:
            return None
        path = _module(matrix)
        if self._is_kept(path, layer) or (layer is None and self._spares_tower(path)):
            return None
        if self.whole.method == "gptq" and not runs_on_marlin(matrix, self.whole):
            return self.whole  # the fallback reads the checkpoint's fields alone
        found = next((form for names, form in self.parts if names.hold(path, layer)), self.whole)
        if found.method == "none" or (found.extra.get("only") == "experts" and not matrix.experts):
            return None
        return found

    def held(self, matrix: Matrix) -> Matrix:
        """Return a module as a rank holds it: some are whole on every rank where certain readers are at work."""
        if matrix.ranks == 1 or not matrix.whole_in:
            return matrix
        forms = (self.whole, *(form for _, form in self.parts))
        if {str(form.extra.get("writer") or form.method) for form in forms}.isdisjoint(matrix.whole_in):
            return matrix
        outputs = tuple(size * matrix.ranks for size in matrix.outputs)
        return replace(matrix, outputs=outputs, split="", ranks=1)

    def of_head(self) -> Quantization | None:
        """Return the format of the output head, or None where it stays in the model's own type."""
        if not self.whole.head or self.kept.hold(HEAD):
            return None
        found = next((form for names, form in self.parts if names.hold(HEAD)), self.whole)
        return None if found.method == "none" else found

    def _spares_tower(self, path: str) -> bool:
        """ModelOpt's reader never quantises towers of these names, listed or not (``modelopt.py``)."""
        one = self.whole.naming == "wildcard" and self.whole.method != "none"
        return one and any(name in path for name in ("vision_tower", "vision_model", "vit_large_projector"))

    def _is_kept(self, path: str, layer: int | None) -> bool:
        if self.whole.excluded == _USUAL and self.whole.naming == "any":
            return path == "mlp.gate" and self.whole.method != "gptq"
        return bool(self.whole.excluded) and self.kept.hold(path, layer)

    def cache_scale_bytes(self, mixer: object, layer: int, kv_heads: int, width: int) -> int:
        """Bytes of query, key and value scales that an attention layer registers, by who wrote the checkpoint.

        FP8, ModelOpt and Quark checkpoints: four scalars of the model's type (``layers/quantization/kv_cache.py``),
        with ModelOpt on latent attention too, with Quark not in layers it excludes; compressed-tensors: three float32
        scales and three zero points of the model's type, of each KV head where the cache is scaled by heads
        (``CompressedTensorsKVCacheMethod``).

        Args:
            mixer: the layer's; others than attention have no cache scales.
            layer: its number.
            kv_heads: KV heads on this rank.
            width: bytes of an element of the model's type.
        """
        writer = str(self.whole.extra.get("writer") or _WRITERS.get(self.whole.method, ""))
        if isinstance(mixer, MlaAttention) and not mixer.expanded:
            return 4 * width if writer == "modelopt" else 0
        if not isinstance(mixer, MlaAttention) and not (isinstance(mixer, Attention) and mixer.cache_scales):
            return 0
        if writer == "quark" and self.kept.hold("self_attn.attn", layer):
            return 0
        if writer == "compressed-tensors":
            return 3 * (4 + width) * (kv_heads if self.whole.extra.get("kv_scale") == "head" else 1)
        return 4 * width if writer in {"fp8", "modelopt", "quark"} else 0


def settled(quantization: Quantization, widths: Iterable[int]) -> Quantization:
    """Return a format whose groups divide every input, where its groups are only assumed.

    Writers choose groups so; where a repository's config was not read and groups of 128 do not divide the inputs, they
    are of 64 or 32 (DeepSeek-V2-Lite's dense layer is 10,944 wide).

    Args:
        quantization: the checkpoint's.
        widths: inputs of all matrices it may store, over all ranks.
    """
    size = math.gcd(quantization.group_size or 0, *widths)
    return replace(quantization, group_size=size) if size >= SMALLEST_BLOCK else quantization


def assumes_groups(quantization: Quantization) -> bool:
    """Tell whether a format has groups of a size that was not read from a config."""
    grouped = quantization.method in {"gptq", "awq", "w4a16", "w8a16"}
    return grouped and quantization.naming == "any" and (quantization.group_size or 0) > SMALLEST_BLOCK


def formats_of(quantization: Quantization, prefix: str = "") -> Formats:
    """Make a checkpoint's formats ready to be asked.

    Args:
        quantization: the checkpoint's.
        prefix: module path of the model's layers (``ModelSpec.prefix``).
    """
    one_mixer = prefix.startswith("backbone")
    roots = (prefix,) if "mtp" in prefix else ROOTS
    parts = tuple(
        (names_of(part.names, part.naming or quantization.naming, one_mixer, roots), part.format)
        for part in quantization.parts
    )
    return Formats(quantization, names_of(quantization.excluded, quantization.naming, one_mixer, roots), parts)


def _module(matrix: Matrix) -> str:
    """The module a matrix is a parameter of: all experts of a layer are one."""
    return matrix.name.rpartition(".")[0] if matrix.experts else matrix.name


_WRITERS = {
    "fp8_block": "fp8",
    "fp8_tensor": "fp8",
    "nvfp4": "modelopt",
    "mxfp8": "modelopt",
    **dict.fromkeys(("fp8_channel", "int8", "w4a16", "w8a16"), "compressed-tensors"),
}
"""Who usually writes a format, where the checkpoint's config was not read."""

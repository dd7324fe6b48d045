"""Exact figures: what vLLM's own code says a GPU would hold, in place of what is computed.

The probe is asked once for each (config, split, types, flags) and vLLM version; answers are kept in the data folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from tools.domain import Deployment, Footprint, Gpu, Note, Provenance, note
from tools.errors import EngineRefuses, ExactUnavailable, NotYetExact, RigfitError
from tools.settings import Settings
from tools.storage import prepare_database
from tools.vram.engines import transients, vllm
from tools.vram.estimate import estimate
from tools.vram.loaded import Loaded
from tools.vram.probing import PROBE, Answer, Case, Limits, ask

STORE = "vllm_answers.sqlite"
STORE_VERSION = 1
NOMINAL_POOL = 1 << 40
"""Blocks of any pool follow from those of this one."""
CARDS = {"8.0", "8.6", "8.9", "9.0", "10.0", "12.0"}
"""Compute capabilities that the probe pretends; others are taken for Hopper."""


@dataclass(frozen=True, slots=True)
class Question:
    """One deployment to ask about.

    Attributes:
        config, quant_config: the checkpoint's own files.
        quantization: vLLM's flag, where it is to quantise while loading.
    """

    deployment: Deployment
    gpu: Gpu | None
    config: Mapping[str, Any]
    quant_config: Mapping[str, Any] | None = None
    quantization: str | None = None

    @property
    def capability(self) -> str:
        """The card to pretend."""
        said = self.gpu.compute_capability if self.gpu else None
        return said if said in CARDS else "9.0"

    def case(self) -> Case:
        """Put the question as the probe reads it."""
        asked = self.deployment
        case: Case = {
            "config": self.config,
            "quant_config": self.quant_config,
            "quantization": self.quantization,
            "tp": asked.tp,
            "pp": asked.pp,
            "dp": asked.dp,
            "ep": asked.ep,
            "dtype": asked.checkpoint.dtype,
            "kv_dtype": asked.kv_dtype,
            "block_size": asked.block_size,
            "max_model_len": asked.max_model_len,
            "max_num_seqs": asked.max_num_seqs,
            "max_num_batched_tokens": asked.max_num_batched_tokens,
            "memory_bytes": self.gpu.cuda_total_bytes if self.gpu else None,
            "pool_bytes": NOMINAL_POOL,
        }
        arguments = {
            "enable_prefix_caching": asked.prefix_caching,
            "decode_context_parallel_size": asked.dcp if asked.dcp > 1 else None,
            "disable_hybrid_kv_cache_manager": None if asked.cache_groups is None else not asked.cache_groups,
        }
        case["arguments"] = {name: value for name, value in arguments.items() if value is not None}
        return {name: value for name, value in case.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Exact:
    """Asks vLLM, or the store of what it said before.

    Attributes:
        python: interpreter of vLLM's environment.
        store: the file that keeps answers.
        limits: of the child process.
    """

    python: Path
    store: Path
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def open(cls, settings: Settings) -> Exact:
        """Find vLLM's interpreter.

        Raises:
            ExactUnavailable: there is none.
        """
        if settings.vllm_python is None:
            raise ExactUnavailable("errors_exact.not_installed")
        return cls(settings.vllm_python, settings.data_dir / STORE)

    def footprints(self, questions: Sequence[Question]) -> list[Footprint | RigfitError]:
        """Answer deployments, with one child process for all of one kind of card.

        Returns:
            For each a footprint whose parameters and cache are vLLM's own, or why there is none.
        """
        found = self.answers(questions)
        return [_said(question, answer) for question, answer in zip(questions, found, strict=True)]

    def answers(self, questions: Sequence[Question]) -> list[Answer | RigfitError]:
        """Return the probe's answers, kept ones first."""
        keys = [self._key(question) for question in questions]
        kept = self._kept(keys)
        by_card: dict[str, dict[str, Question]] = {}
        for key, question in zip(keys, questions, strict=True):
            if key not in kept:
                by_card.setdefault(question.capability, {})[key] = question
        for capability, asked in by_card.items():
            cases = [question.case() for question in asked.values()]
            try:
                said: list[Answer | RigfitError] = ask(self.python, cases, capability=capability, limits=self.limits)
            except ExactUnavailable as error:
                said = [error] * len(cases)
            new = dict(zip(asked, said, strict=True))
            self._keep(new)
            kept |= new
        return [kept[key] for key in keys]

    def _key(self, question: Question) -> str:
        """Name a question, the probe and the environment it is put to."""
        said = json.dumps([question.case(), question.capability, str(self.python)], sort_keys=True, default=str)
        return hashlib.sha256(said.encode() + _environment(self.python) + PROBE.read_bytes()).hexdigest()

    def _kept(self, keys: Iterable[str]) -> dict[str, Answer | RigfitError]:
        """Read what was answered before; a store that can't be used is as good as empty."""
        if not self._ready():
            return {}
        found: dict[str, Answer | RigfitError] = {}
        try:
            with closing(sqlite3.connect(self.store, timeout=5.0)) as connection:
                for key in keys:
                    row = connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
                    if row:
                        found[key] = _restored(json.loads(row[0]))
        except (sqlite3.Error, ValueError):
            return {}
        return found

    def _keep(self, answers: Mapping[str, Answer | RigfitError]) -> None:
        """Store answers and refusals; a child that died or was late may do better next time."""
        lasting = {key: said for key, said in answers.items() if not isinstance(said, ExactUnavailable)}
        if not lasting or not self._ready():
            return
        rows = [(key, json.dumps(_stored(said)), time.time()) for key, said in lasting.items()]
        try:
            with closing(sqlite3.connect(self.store, timeout=5.0)) as connection, connection:
                connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
        except sqlite3.Error:
            return

    def _ready(self) -> bool:
        return prepare_database(self.store, version=STORE_VERSION, migrations={0: _create})[0]


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT, asked REAL)")


def _environment(python: Path) -> bytes:
    """Tell one installed vLLM from another by the folders that hold its versions."""
    root = python.parent.parent / "lib"
    names = sorted(path.name for kind in ("vllm", "torch", "transformers") for path in root.glob(f"*/*/{kind}*-info"))
    return "\n".join(names).encode()


def _stored(said: Answer | RigfitError) -> dict[str, Any]:
    return {"refused": dict(said.params)} if isinstance(said, RigfitError) else said


def _restored(kept: dict[str, Any]) -> Answer | RigfitError:
    refused = kept.get("refused")
    return EngineRefuses("errors_exact.refused", **cast("dict[str, Any]", refused)) if refused else kept


def _said(question: Question, answer: Answer | RigfitError) -> Footprint | RigfitError:
    if isinstance(answer, RigfitError):
        return answer
    try:
        return footprint(question.deployment, question.gpu, answer)
    except RigfitError as error:
        return error


def footprint(deployment: Deployment, gpu: Gpu | None, answer: Answer) -> Footprint:
    """Put vLLM's own parameters and cache blocks in the place of the computed ones.

    Memory for activations, graphs and the like stays what it was, and so does what loading adds to the weights.

    Args:
        deployment: what was asked.
        gpu: the card, or None.
        answer: the probe's.

    Raises:
        BadValue: a flag is absurd.
    """
    try:
        base = estimate(deployment, gpu)
        notes = tuple(_compared(base, answer))
    except NotYetExact:
        base = _without_formula(deployment, gpu, answer)
        notes = (note("exact.no_formula"),)
    by = answer["parameter_bytes"] - base.parameter_bytes
    fixed = deployment.kv_cache_memory_bytes is not None
    pool = base.kv_pool_bytes
    if pool is not None and not fixed:
        pool = replace(pool, low=pool.low - by, value=pool.value - by, high=pool.high - by)
    made = replace(base, parameter_bytes=answer["parameter_bytes"], weights_bytes=base.weights_bytes + by)
    return _with_cache(replace(made, kv_pool_bytes=pool), answer, notes)


def _without_formula(deployment: Deployment, gpu: Gpu | None, answer: Answer) -> Footprint:
    """Make a footprint of an architecture that only vLLM knows."""
    registered = int(answer["parameter_bytes"])
    parts = vllm.parts_with(deployment, gpu, Loaded(registered, "", repacked=False))
    parts = replace(parts, graphs=transients.graphs(deployment, by_layers=False))
    context = replace(
        parts.non_torch,
        low=parts.non_torch.low + vllm.CUDA_CONTEXT_BYTES,
        value=parts.non_torch.value + vllm.CUDA_CONTEXT_BYTES,
        high=parts.non_torch.high + vllm.CUDA_CONTEXT_BYTES,
    )
    names = ("weights_bytes", "kv_pool_bytes", "activation_bytes", "cuda_graph_bytes", "context_bytes")
    return Footprint(
        deployment=deployment,
        parameter_bytes=registered,
        weights_bytes=parts.weights_bytes,
        backend="",
        kv_bytes_per_token=None,
        kv_needed_bytes=0,
        kv_pool_bytes=vllm.pool(deployment, gpu, parts),
        kv_pool_tokens=None,
        max_concurrency=None,
        activation_bytes=parts.activation,
        cuda_graph_bytes=parts.graphs,
        context_bytes=context,
        total_bytes=0,
        verdict=None,
        provenance=dict.fromkeys(names, "estimated"),
    )


def _with_cache(made: Footprint, answer: Answer, notes: tuple[Note, ...]) -> Footprint:
    """Cut the pool into vLLM's blocks: its tokens, and sequences at once, as the engine would print them."""
    asked, cache = made.deployment, answer["pool"]
    block, request = int(cache.get("block_bytes", 0)), int(cache.get("request_bytes", 0))
    needed = request * (asked.max_num_seqs or 1) + block
    size = max(0, math.floor(made.kv_pool_bytes.value)) if made.kv_pool_bytes else None
    crowd = (size // block) / (request // block) if size is not None and block else None
    taken = needed if size is None else size
    rest = made.activation_bytes.value + made.cuda_graph_bytes.value + made.context_bytes.value
    return replace(
        made,
        kv_bytes_per_token=_token_bytes(cache),
        kv_needed_bytes=needed,
        kv_pool_tokens=None if crowd is None else int(crowd * cache["max_model_len"]),
        max_concurrency=crowd,
        total_bytes=math.ceil(made.weights_bytes + taken + rest),
        verdict=None if size is None else "fits" if request <= size - block else "does_not_fit",
        provenance={**made.provenance, **_provenance(asked)},
        assumptions=(*made.assumptions, *_versions(asked, answer), *notes),
    )


def _token_bytes(cache: Mapping[str, Any]) -> int | None:
    """Bytes a token takes, where all layers keep tokens alike."""
    groups = cache["groups"]
    if len(groups) != 1 or groups[0]["kind"] not in {"FullAttentionSpec", "MLAAttentionSpec"}:
        return None
    return int(cache["block_bytes"]) // int(groups[0]["block"])


def _provenance(asked: Deployment) -> dict[str, Provenance]:
    """What a pool holds is exact where the pool is: blocks are vLLM's own, but its size may be an estimate."""
    exact = ["parameter_bytes", "kv_bytes_per_token", "kv_needed_bytes"]
    if asked.kv_cache_memory_bytes is not None:
        exact += ["kv_pool_bytes", "kv_pool_tokens", "max_concurrency"]
    return dict.fromkeys(exact, "exact")


def _versions(asked: Deployment, answer: Answer) -> list[Note]:
    version = str(answer["vllm"])
    found = [note("exact.asked", version=version)]
    if asked.engine_version and asked.engine_version != version:
        found.append(note("exact.other_version", version=version, asked=asked.engine_version))
    return found


def _compared(base: Footprint, answer: Answer) -> list[Note]:
    """Say where the formula differs from vLLM's own figures."""
    ours = {"parameter_bytes": base.parameter_bytes}
    theirs = {"parameter_bytes": int(answer["parameter_bytes"])}
    if base.deployment.kv_cache_memory_bytes is not None and base.kv_pool_tokens is not None:
        exact = _with_cache(base, answer, ())
        ours["kv_pool_tokens"], theirs["kv_pool_tokens"] = base.kv_pool_tokens, exact.kv_pool_tokens or 0
    if base.kv_bytes_per_token:
        ours["kv_bytes_per_token"] = base.kv_bytes_per_token
        theirs["kv_bytes_per_token"] = _token_bytes(answer["pool"]) or 0
    unlike = [
        note("exact.differs", what=name, exact=theirs[name], computed=ours[name])
        for name in ours
        if ours[name] != theirs[name]
    ]
    return unlike or [note("exact.agrees")]

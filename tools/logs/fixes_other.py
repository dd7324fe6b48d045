"""Failures whose remedy is no matter of memory: splits, formats, cards, access, disks, ports, the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tools.domain import note
from tools.logs.facts import EngineLog
from tools.logs.whatif import Fix, WhatIf

Maker = Callable[[EngineLog, WhatIf | None], Iterator[Fix]]


def other_fixes(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    """Yield the changes for a failure that is not one of GPU memory; nothing for the others."""
    failure = log.failure
    if failure is None:
        return
    maker = _MADE.get(failure.kind)
    if maker:
        yield from maker(log, what_if)
    for name, command in _PLAIN.get(failure.kind, ()):
        yield Fix(note(f"logs.{name}"), None, command)


_PLAIN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "bf16_unsupported": (("fix_half", "--dtype half"),),
    "gated": (("fix_accept", "hf auth login"), ("fix_token", "HF_TOKEN=...")),
    "not_found": (("fix_name", ""),),
    "weights_broken": (("fix_fetch_again", "hf download --force-download ..."),),
    "driver_old": (("fix_driver", "nvidia-smi"), ("fix_older_image", "")),
    "no_kernel": (("fix_newer_build", ""),),
    "no_gpu": (("fix_give_gpu", "docker run --gpus all ..."),),
    "shared_memory": (("fix_ipc", "--ipc=host"), ("fix_shm", "--shm-size 16g")),
    "disk_full": (("fix_cache_folder", "HF_HOME=..."),),
    "nccl": (("fix_nccl_say", "NCCL_DEBUG=INFO"), ("fix_nccl_p2p", "NCCL_P2P_DISABLE=1")),
    "architecture": (("fix_newer_engine", ""),),
    "killed": (("fix_host_limit", "free -g"),),
    "host_memory": (("fix_host_limit", "free -g"),),
    "oom_load": (("fix_four_bit", "--load-in-4bit"), ("fix_smaller_cache", "--ctx-size 4096 --cache-type q8")),
    "unknown": (("fix_more_log", "VLLM_LOGGING_LEVEL=DEBUG"),),
}
"""By kind, sentences and commands that depend on nothing in the log."""


def _whole(log: EngineLog, name: str) -> int:
    value = log.failure.params.get(name, 0) if log.failure else 0
    return value if isinstance(value, int) else 0


def _ranks_that_divide(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    """The nearest smaller number of ranks that divides the heads; each then holds more."""
    heads, asked = _whole(log, "heads"), _whole(log, "tp")
    wanted = next((ranks for ranks in range(asked - 1, 0, -1) if heads and heads % ranks == 0), None)
    if wanted is None:
        return
    other = what_if.changed(tp=wanted) if what_if else None
    effect = -other.weights_bytes if other else None
    held = note("logs.fix_ranks", ranks=wanted)
    yield Fix(held, effect, f"--tensor-parallel-size {wanted}")
    larger = next((ranks for ranks in range(asked + 1, heads + 1) if heads % ranks == 0), None)
    if larger:
        yield Fix(note("logs.fix_ranks", ranks=larger), None, f"--tensor-parallel-size {larger}")


def _fewer_ranks(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    gpus, ranks = _whole(log, "gpus"), _whole(log, "ranks")
    if not gpus:
        return
    yield Fix(note("logs.fix_ranks", ranks=gpus), None, f"--tensor-parallel-size {gpus}")
    if ranks % gpus == 0 and ranks > gpus:
        stages = ranks // gpus
        command = f"--tensor-parallel-size {gpus} --pipeline-parallel-size {stages}"
        yield Fix(note("logs.fix_nodes", nodes=stages), None, f"{command} --distributed-executor-backend ray")


def _allowed_context(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    allowed = _whole(log, "allowed")
    if allowed:
        change = note("logs.fix_shorter", before=_whole(log, "max_model_len"), after=allowed)
        yield Fix(change, None, f"--max-model-len {allowed}", True)


def _as_many_as_blocks(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    blocks, asked = _whole(log, "blocks"), _whole(log, "max_num_seqs")
    if blocks:
        freed = what_if.freed_bytes(max_num_seqs=blocks) if what_if else None
        change = note("logs.fix_fewer_sequences", before=asked, after=blocks)
        yield Fix(change, freed, f"--max-num-seqs {blocks}", True)


def _longer_steps(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    block, step = _whole(log, "block_tokens"), _whole(log, "max_num_batched_tokens")
    if block:
        taken = what_if.freed_bytes(max_num_batched_tokens=block) if what_if else None
        change = note("logs.fix_longer_steps", before=step, after=block)
        yield Fix(change, taken, f"--max-num-batched-tokens {block}", True)


def _another_port(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    port = _whole(log, "port") or log.arguments.get("port") or 8000
    yield Fix(note("logs.fix_port", port=port + 1), None, f"--port {port + 1}", True)


def _another_format(log: EngineLog, what_if: WhatIf | None) -> Iterator[Fix]:
    """A 4-bit checkpoint that older cards run, with what its weights take less."""
    if what_if is None:
        yield Fix(note("logs.fix_other_format"))
        return
    from tools.specs.checkpoints import checkpoints_for

    for word in ("awq", "gptq-int4"):
        found = [c for c in checkpoints_for(what_if.deployment.model, word) if not c.hypothetical]
        if found:
            freed = what_if.freed_bytes(checkpoint=found[0])
            yield Fix(note("logs.fix_smaller_format", name=found[0].repo), freed, f"--model {found[0].repo}", True)
            return
    yield Fix(note("logs.fix_other_format"))


_MADE: Mapping[str, Maker] = {
    "tp_heads": _ranks_that_divide,
    "too_few_gpus": _fewer_ranks,
    "context_too_long": _allowed_context,
    "mamba_blocks": _as_many_as_blocks,
    "block_too_long": _longer_steps,
    "port_taken": _another_port,
    "format_unsupported": _another_format,
}

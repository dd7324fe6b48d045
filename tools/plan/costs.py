"""What an option costs, and what it calls for: quality, context, speed, waiting, RAM, download."""

from __future__ import annotations

from collections.abc import Sequence

from tools.domain import Band, Costs, Gpu, InstancePlan, Note, Placement, note
from tools.plan.engines import engine
from tools.plan.evaluate import asleep_bytes
from tools.plan.kernels import runs_on
from tools.plan.moves import State, bits_of, short_name
from tools.plan.sizes import weight_bytes
from tools.plan.speed import PCIE_BYTES_PER_S, Speed, speed_of
from tools.plan.waiting import switch_seconds, wake_seconds
from tools.specs.checkpoints import native
from tools.units import GIB


def costs_of(state: State, placement: Placement) -> Costs:
    """Work out the costs of a state that fits."""
    speed = slowest(placement, state.gpus)
    return Costs(
        quality=_quality(state),
        context_tokens=min(choice.context for choice in state.choices),
        decode_tokens_per_s=speed and speed.decode_tokens_per_s,
        throughput_tokens_per_s=speed and speed.throughput_tokens_per_s,
        prefill_tokens_per_s=speed and speed.prefill_tokens_per_s,
        wake_s=_wake(state, placement) if state.swap else None,
        ram_bytes=ram_bytes(state) or None,
        download_bytes=download_bytes(placement),
    )


def needs_of(state: State, placement: Placement) -> tuple[Note, ...]:
    """List what a state calls for: the moves' own notes, RAM, plugins, float16, a question to settle."""
    notes = list(state.needs)
    ram = ram_bytes(state)
    if ram:
        notes.append(note("plan.needs_ram", gib=ram / GIB))
    if state.swap and asleep_bytes(state):  # PyTorch keeps pinned memory for the next sleep (vllm-project/vllm#16663)
        notes.append(note("plan.ram_kept", gib=sum(map(weight_bytes, state.choices)) / GIB))
    offloaded = sum(choice.offload_bytes for choice in state.choices)
    if offloaded:
        sparse = all(
            (c.model.params_active or c.model.params_total) < c.model.params_total
            for c in state.choices
            if c.offload_bytes
        )
        code = "plan.offload_speed" if sparse else "plan.offload_speed_dense"
        if engine(state.engine).family == "layers":
            code += "_cpu"
        notes.append(note(code, gib=offloaded / GIB, rate=PCIE_BYTES_PER_S[1] / 1e9))
    if state.swap and state.engine == "sglang":
        notes.append(note("plan.memory_saver"))
    if "share" in state.path:
        names = ", ".join(name for choice in state.choices if len(choice.served) > 1 for name in choice.served)
        notes.append(note("plan.needs_same_model", names=names))
    for plan in placement.instances:
        notes += _kernel_notes(plan, state.gpus[plan.gpu_indices[0]])
    return tuple({(n.code, str(sorted(n.params.items()))): n for n in notes}.values())


def ram_bytes(state: State) -> int:
    """RAM that a state takes for sleeping models and for weights outside the cards."""
    return (asleep_bytes(state) if state.swap else 0) + sum(choice.offload_bytes for choice in state.choices)


def slowest(placement: Placement, gpus: Sequence[Gpu]) -> Speed | None:
    """Speed of the instance that decodes slowest; None where a card's bandwidth is not known."""
    speeds = [speed_of(plan.footprint, _slowest_card(plan, gpus)) for plan in placement.instances if plan.gpu_indices]
    known = [speed for speed in speeds if speed is not None]
    return (
        min(known, key=lambda speed: speed.decode_tokens_per_s.value) if known and len(known) == len(speeds) else None
    )


def _slowest_card(plan: InstancePlan, gpus: Sequence[Gpu]) -> Gpu:
    """The card of an instance with the least bandwidth; unequal ones share layers, so its pace is the lower bound."""
    return min((gpus[card] for card in plan.gpu_indices), key=lambda gpu: gpu.bandwidth_bytes_per_s or 0.0)


def download_bytes(placement: Placement) -> int:
    """Weight files to fetch, each repository once; from the catalogue, else from the parameters they hold."""
    sizes: dict[str, int] = {}
    for plan in placement.instances:
        checkpoint = plan.deployment.checkpoint
        sizes[checkpoint.repo + checkpoint.precision * (checkpoint.quantization.method == "gguf")] = _file_bytes(plan)
    return sum(sizes.values())


def _file_bytes(plan: InstancePlan) -> int:
    """Files of one instance; of one that is yet to be made, those that it is made from."""
    deployment, checkpoint = plan.deployment, plan.deployment.checkpoint
    if checkpoint.hypothetical:
        return native(deployment.model).file_bytes or 2 * deployment.model.params_total
    if checkpoint.quantization.method == "gguf":
        from tools.vram.engines.llamacpp import file_parts

        return checkpoint.file_bytes or file_parts(deployment).total
    return checkpoint.file_bytes or plan.footprint.parameter_bytes * deployment.tp * deployment.pp


def _quality(state: State) -> Note | None:
    """The heaviest loss among the instances that a precision move changed."""
    if "smaller_model" in state.path:
        return note("plan.quality_smaller")
    if "precision" not in state.path:
        return None
    lowest = min(state.choices, key=lambda choice: bits_of(choice.checkpoint))
    bits = bits_of(lowest.checkpoint)
    if bits == 16:
        return None
    kind = "relative" if lowest.checkpoint.sibling_of else "in_flight" if lowest.checkpoint.in_flight else "published"
    code = {"relative": "plan.quality_relative", "in_flight": f"plan.quality_{bits}bit_in_flight"}.get(
        kind, f"plan.quality_{max(2, bits)}bit"
    )
    return note(code, model=short_name(lowest.model))


def _wake(state: State, placement: Placement) -> Band:
    """The longest wait: the model that wakes slowest, after the heaviest other one was put to sleep.

    Where the engine has no sleep, the largest model is started anew from its files.
    """
    if not engine(state.engine).sleeps:
        return switch_seconds(max(_file_bytes(plan) for plan in placement.instances))
    weights = [plan.footprint.weights_bytes for plan in placement.instances]
    waits = [wake_seconds(own, max(weights[:i] + weights[i + 1 :])) for i, own in enumerate(weights)]
    return max(waits, key=lambda band: band.value)


def _kernel_notes(plan: InstancePlan, gpu: Gpu) -> tuple[Note, ...]:
    return runs_on(plan.deployment.checkpoint, gpu, plan.deployment.engine).needs

"""Small models and cards built from the domain's words, and the engine's start rule retold."""

from __future__ import annotations

import math

from tools.domain import (
    Attention,
    Checkpoint,
    DenseMlp,
    Gpu,
    Layer,
    ModelSpec,
    Placement,
    Plan,
)

GIB = 1 << 30
CUDA_CONTEXT = GIB // 2
SLEEPING = round(2.3 * GIB)


def dense(name: str, billions: float, *, kv_heads: int = 8, heads: int = 32, layers: int = 32) -> ModelSpec:
    """A dense model of about so many billions of parameters, only published in bfloat16."""
    hidden = heads * 128
    attention = hidden * 128 * (2 * heads + 2 * kv_heads)
    inner = max(256, round((billions * 1e9 / layers - attention) / (3 * hidden) / 256) * 256)
    layer = Layer((Attention(heads, kv_heads, 128),), DenseMlp(inner))
    return ModelSpec(
        name=f"lab/{name}",
        model_type="llama",
        architecture="LlamaForCausalLM",
        params_total=round(billions * 1e9),
        params_active=None,
        hidden_size=hidden,
        vocab_size=32000,
        tied_embeddings=False,
        max_context=131072,
        layers=(layer,) * layers,
        checkpoints=(Checkpoint(f"lab/{name}", "bf16"),),
    )


def card(gib: float, name: str = "", *, reserved: float = 0, node: int = 0, capability: str = "8.6") -> Gpu:
    total = round(gib * GIB)
    return Gpu(
        name=name or f"card-{gib:g}",
        vendor="nvidia",
        memory_bytes=total,
        cuda_total_bytes=total,
        reserved_bytes=round(reserved * GIB),
        bandwidth_bytes_per_s=9e11,
        compute_capability=capability,
        node=node,
    )


def simulate_starts(placement: Placement) -> list[str]:
    """Start every instance in order, by the engine's words; returns what goes wrong.

    At start the process has its CUDA context; free memory must not be less than ceil(total x utilization). Then it
    holds weights, cache, activation, graphs and the rest; with sleep mode only a residue once the next one starts.
    """
    problems: list[str] = []
    for gpu in placement.gpus:
        held = gpu.reserved_bytes
        here = sorted((i for i in placement.instances if gpu.index in i.gpu_indices), key=lambda i: i.start_order)
        for instance in here:
            deployment, footprint = instance.deployment, instance.footprint
            share, pool = deployment.gpu_memory_utilization, deployment.kv_cache_memory_bytes
            if share is None or pool is None:
                problems.append(f"{instance.name}: no budget")
                continue
            parts = (footprint.activation_bytes, footprint.cuda_graph_bytes, footprint.context_bytes)
            takes = footprint.weights_bytes + pool + sum(band.value for band in parts)
            budget = math.ceil(gpu.total_bytes * share)
            if gpu.total_bytes - held - CUDA_CONTEXT < budget:
                problems.append(f"{instance.name}: refused at start on card {gpu.index}")
            if takes - CUDA_CONTEXT > budget + 1:
                problems.append(f"{instance.name}: takes more than its budget")
            if held + takes > gpu.total_bytes:
                problems.append(f"{instance.name}: runs out of memory on card {gpu.index}")
            held += SLEEPING if deployment.sleep_mode else takes
    return problems


def check_starts(placement: Placement) -> list[str]:
    """Start a placement by its engine's rule: vLLM's shares, or plain sums of what each process takes."""
    engines = {instance.deployment.engine for instance in placement.instances}
    if engines <= {"sglang"}:
        return [*simulate_fractions(placement), *simulate_sums(placement)]
    return simulate_starts(placement) if engines <= {"vllm"} else simulate_sums(placement)


def simulate_fractions(placement: Placement) -> list[str]:
    """Start SGLang processes in order: each counts its share from what is free once its own context is there.

    The pool is taken by the older way (before graphs) and by the newer one (after them): both must hold every sequence.
    """
    problems: list[str] = []
    held = {gpu.index: gpu.reserved_bytes for gpu in placement.gpus}
    totals = {gpu.index: gpu.total_bytes for gpu in placement.gpus}
    together = all(instance.awake for instance in placement.instances)
    for instance in sorted(placement.instances, key=lambda i: i.start_order):
        found, options = instance.footprint, instance.deployment.options
        graphs, context = found.cuda_graph_bytes.value, found.context_bytes.value
        left = [totals[card] - held[card] for card in instance.gpu_indices]
        if min(left) < 0.9 * max(left):
            problems.append(f"{instance.name}: its cards are unbalanced")
        free = min(left) - context
        pool = free * (options.static_share or 0) - found.weights_bytes
        if options.total_tokens and found.kv_bytes_per_token:
            pool = min(pool - graphs, options.total_tokens * found.kv_bytes_per_token)
        if pool < found.kv_needed_bytes:
            problems.append(f"{instance.name}: its share is too small")
        if found.weights_bytes + pool + graphs + found.activation_bytes.value > free:
            problems.append(f"{instance.name}: runs out of memory")
        for card in instance.gpu_indices if together else ():  # by turns each starts on a free card
            held[card] += found.total_bytes
    return problems


def simulate_sums(placement: Placement) -> list[str]:
    """Processes that run take what they need of each card; those that are stopped take nothing."""
    problems: list[str] = []
    for gpu in placement.gpus:
        here = [i for i in placement.instances if gpu.index in i.gpu_indices]
        held = sum(i.bytes_on(gpu.index) for i in here if i.awake)
        problems += [f"card {gpu.index} is over-full"] if held > gpu.total_bytes - gpu.reserved_bytes else []
        problems += [f"card {gpu.index} does not add up"] if held != gpu.used_bytes else []
        for instance in here:  # one at a time beside nothing but what stays
            if instance.bytes_on(gpu.index) > gpu.total_bytes - gpu.reserved_bytes:
                problems.append(f"{instance.name} is larger than card {gpu.index}")
    return problems


def check_sums(placement: Placement) -> None:
    for gpu in placement.gpus:
        assert gpu.used_bytes + gpu.free_bytes + gpu.reserved_bytes == gpu.total_bytes


def check_plan(plan: Plan) -> None:
    """What holds for every plan: sums, starts, users' cache, distinct ids and names."""
    ids = [option.id for option in plan.options]
    assert len(set(ids)) == len(ids)
    assert plan.recommended in {*ids, "as_asked"}
    for placement in (plan.as_asked, *(option.placement for option in plan.options)):
        check_sums(placement)
        names = [name for instance in placement.instances for name in instance.served_names]
        assert len(set(names)) == len(names)
        if placement.verdict == "fits":
            assert placement.deficit_bytes == 0
            assert check_starts(placement) == []
            for instance in placement.instances:
                crowd = instance.footprint.max_concurrency
                # SGLang divides a pool among windows and full layers in a way that is not known
                assert crowd is not None or instance.deployment.engine == "sglang"
                assert crowd is None or crowd >= (instance.deployment.max_num_seqs or 1)
                assert len(instance.gpu_indices) == instance.deployment.tp * instance.deployment.pp
    for option in plan.options:
        assert option.placement.verdict == "fits"

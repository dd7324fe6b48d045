"""A log's measurements as those of the user's own machine."""

from __future__ import annotations

from dataclasses import replace

from tools.domain import Deployment, Gpu, Measured
from tools.errors import BadValue
from tools.logs.explain import Explanation
from tools.logs.facts import EngineLog
from tools.vram.engines.vllm import batched_tokens_of, graphs_budgeted, sequences_of


def measured_of(explanation: Explanation, gpu: Gpu | None, *, date: str, log: str) -> Measured:
    """Return what a log measured, as it is remembered.

    Args:
        explanation: the log, explained.
        gpu: the card it ran on, where the log does not name it.
        date: the day, ``YYYY-MM-DD``.
        log: name of the log's file.

    Raises:
        BadValue: the engine is another than vLLM, the model or the card is not known, or nothing was measured.
    """
    made = explanation.prediction
    card = made.gpu if made.gpu and made.gpu.vendor else gpu
    deployment = made.footprint.deployment if made.footprint else None
    return measured_in(explanation.log, deployment, card, date=date, log=log)


def measured_in(told: EngineLog, deployment: Deployment | None, card: Gpu | None, *, date: str, log: str) -> Measured:
    """Return what a start measured of a deployment that is known.

    Args:
        told: the start's log, read.
        deployment: what ran.
        card: the card it ran on.
        date: the day, ``YYYY-MM-DD``.
        log: name of the log's file.

    Raises:
        BadValue: as ``measured_of``.
    """
    memory = told.memory
    deployment, card = _known(told, deployment, card)
    seen = replace(card, cuda_total_bytes=memory.total_bytes or card.cuda_total_bytes)
    estimated = memory.graphs_estimated_bytes
    activation = memory.activation_bytes
    if memory.activation_with_graphs:
        activation = activation - estimated if activation is not None and estimated is not None else None
    graphs = memory.graphs_bytes if estimated is None else estimated
    if estimated is None and told.arguments.get("fixed_pool") and graphs_budgeted(deployment):
        graphs = None  # captured, and not as the engine charges them: it estimates nothing where the pool is set
    return Measured(
        card=card.known_as or card.name,
        engine=told.engine,
        version=deployment.engine_version,
        checkpoint=deployment.checkpoint.repo,
        precision=deployment.checkpoint.precision,
        tp=deployment.tp,
        pp=deployment.pp,
        sequences=sequences_of(deployment, seen),
        step_tokens=batched_tokens_of(deployment, seen),
        enforce_eager=deployment.enforce_eager,
        date=date,
        log=log,
        total_bytes=memory.total_bytes,
        weights_bytes=memory.weights_bytes if not deployment.cpu_offload_bytes else None,
        non_torch_bytes=memory.non_torch_bytes,
        activation_bytes=activation,
        graphs_bytes=graphs,
    )


def _known(told: EngineLog, deployment: Deployment | None, card: Gpu | None) -> tuple[Deployment, Gpu]:
    """Return what ran and on which card; raises where one is not known or nothing was measured."""
    if told.engine != "vllm":
        raise BadValue("errors_logs.remember_engine", engine=told.engine)
    if deployment is None:
        raise BadValue("errors_logs.remember_model")
    if card is None:
        raise BadValue("errors_logs.remember_card")
    if told.memory.weights_bytes is None and told.memory.total_bytes is None:
        raise BadValue("errors_logs.remember_nothing")
    return deployment, card

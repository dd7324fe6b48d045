"""What the gateway counts, for Prometheus. Labels hold known names only, so that no caller can make new series."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format 0.0.4: prometheus.io/docs/instrumenting/exposition_formats."""

NO_MODEL = ""
"""The label of requests that name no model that is served."""

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """One gateway's figures, in a registry of their own."""

    def __init__(self, models: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "rigfit_gateway_requests", "Requests answered.", ["model", "status"], registry=self.registry
        )
        self._first = Histogram(
            "rigfit_gateway_first_byte_seconds",
            "From the whole request until the first byte of the answer.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._retries = Counter(
            "rigfit_gateway_retries", "Requests sent to another replica.", ["model"], registry=self.registry
        )
        self._in_flight = Gauge(
            "rigfit_gateway_requests_in_flight", "Requests that engines have now.", ["engine"], registry=self.registry
        )
        self._up = Gauge(
            "rigfit_gateway_engine_up", "1 where the engine's last check was good.", ["engine"], registry=self.registry
        )
        self._waited = Histogram(
            "rigfit_gateway_wait_seconds",
            "Time that requests waited for their engine to be awake.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "rigfit_gateway_requests_waiting", "Requests that wait for an engine.", ["engine"], registry=self.registry
        )
        self._switches = Histogram(
            "rigfit_gateway_switch_seconds",
            "Time that engines took to wake or to fall asleep.",
            ["engine", "what", "good"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._first_of = {model: self._first.labels(model) for model in models}
        self._answers: dict[tuple[str, int], Counter] = {}

    def answered(self, model: str, status: int) -> None:
        """Count one answer; ``model`` is a name that is served or ``NO_MODEL``."""
        counter = self._answers.get((model, status))
        if counter is None:
            counter = self._answers[model, status] = self._requests.labels(model, str(status))
        counter.inc()

    def first_byte(self, model: str, seconds: float) -> None:
        """Note how long a model's first byte took."""
        self._first_of[model].observe(seconds)

    def retried(self, model: str) -> None:
        """Count one request that went to another replica."""
        self._retries.labels(model).inc()

    def waited(self, model: str, seconds: float) -> None:
        """Note how long a request waited for its turn."""
        self._waited.labels(model).observe(seconds)

    def switched(self, url: str, what: str, good: bool, seconds: float) -> None:
        """Note the end of a ``sleep`` or a ``wake``."""
        self._switches.labels(url, what, "yes" if good else "no").observe(seconds)

    def waiting(self, url: str, requests: int) -> None:
        """Set how many requests wait for an engine now."""
        self._waiting.labels(url).set(requests)

    def engine(self, url: str, in_flight: int, up: bool) -> None:
        """Set what is known of an engine now."""
        self._in_flight.labels(url).set(in_flight)
        self._up.labels(url).set(up)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

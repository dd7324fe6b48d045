"""What ``rigfit serve`` was told beside the plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """Settings of a run, as they are kept for starting it again; no secrets.

    Attributes:
        host: address of the gateway.
        port: TCP port of the gateway.
        cpu: engines run on the processor.
        aliases: ``ALIAS=NAME``.
        upstreams: further engines elsewhere, ``NAME=URL``: models of their own, or help for one that runs here.
        upstream_keys: ``[NAME=]VARIABLE`` that hold their keys.
        far: those engines may lie outside of private networks.
        origins: web pages that may call the gateway.
        key_file: file of the keys that clients must show.
        keys_from_variable: clients must show one of ``RIGFIT_API_KEYS``.
        sleep_level: vLLM's, for engines that take turns.
        min_awake_s: as in ``Policy``; None = its default.
        max_wait_s: likewise.
        ttl_s: likewise.
        pins: models that are kept awake.
        memory_check: an engine is started only where its memory is free.
        language: of sentences and of the gateway's errors.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    cpu: bool = False
    aliases: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    upstream_keys: tuple[str, ...] = ()
    far: bool = False
    origins: tuple[str, ...] = ()
    key_file: str | None = None
    keys_from_variable: bool = False
    sleep_level: int = 1
    min_awake_s: float | None = None
    max_wait_s: float | None = None
    ttl_s: float | None = None
    pins: tuple[str, ...] = ()
    memory_check: bool = True
    language: str = "en"

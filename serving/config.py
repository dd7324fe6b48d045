"""What the gateway is told: engines by name, aliases, limits. Read from words once, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from serving.addresses import is_ip, is_near
from serving.orders import Policy
from tools.errors import BadValue

LONGEST_NAME = 256
"""Characters of a model's name; a hub id has at most 96 (huggingface_hub validates that)."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An engine that answers for a model.

    Attributes:
        model: the name that clients ask for, which is also the name that the engine serves.
        url: the engine's base address without ``/v1``.
        key_env: name of the environment variable that holds the engine's key; never the key itself.
    """

    model: str
    url: str
    key_env: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client may hold.

    Attributes:
        body_bytes: largest request body; OpenAI's images in a request may have 50 MB.
        held_bytes: all bodies in memory together.
        requests: requests at once.
        body_s: time a client has to send its body.
        header_s: time a connection may stay open without a whole request.
        write_s: time a client may leave an answer unread once its buffers are full.
        connect_s: time to reach an engine.
        silence_s: longest time without a byte from an engine that answers.
        drain_s: time that running requests have when the gateway is stopped.
    """

    body_bytes: int = 64 << 20
    held_bytes: int = 512 << 20
    requests: int = 8192
    body_s: float = 60.0
    header_s: float = 75.0
    write_s: float = 120.0
    connect_s: float = 5.0
    silence_s: float = 3600.0
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """How the gateway runs.

    Attributes:
        upstreams: engines; several with one model's name are replicas of it.
        aliases: other names -> names of models.
        host: address to listen on.
        port: TCP port; 0 takes any.
        keys: what clients may show; empty = nobody has to.
        origins: web pages' origins that may call the gateway from a browser.
        far: whether engines may lie outside of this machine and private networks.
        language: of the messages in answers.
        check_s: seconds between two looks at an engine's health.
        limits: bounds on clients.
        groups: models whose engines take turns being awake, group by group; of a model with several engines the first
            does, and the others are asked while it sleeps. All other models are awake together.
        policy: how turns are taken.
        sleep_level: vLLM's: 1 keeps the weights in the machine's memory, 2 drops them.
        switch_s: longest time for one sleep or one wake.
        pins: models that are kept awake from the start.
    """

    upstreams: tuple[Upstream, ...]
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    far: bool = False
    language: str = "en"
    check_s: float = 5.0
    limits: Limits = Limits()
    groups: tuple[tuple[str, ...], ...] = ()
    policy: Policy = field(default_factory=Policy)
    sleep_level: int = 1
    switch_s: float = 120.0
    pins: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names, each once."""
        return tuple(dict.fromkeys(upstream.model for upstream in self.upstreams))


def read_upstreams(words: Iterable[str], *, far: bool = False, keys: Iterable[str] = ()) -> tuple[Upstream, ...]:
    """Read ``NAME=URL`` words.

    Args:
        words: as given to ``--upstream``.
        far: whether addresses outside of private networks are allowed.
        keys: as given to ``--upstream-key``: ``NAME=VARIABLE``, or ``VARIABLE`` for all.

    Raises:
        BadValue: a word can't be read, or names an address that is not allowed.
    """
    pairs = dict.fromkeys(_upstream(word, far) for word in words)
    if not pairs:
        raise BadValue("errors_serving.no_upstream")
    named, common = _key_variables(keys, {name for name, _ in pairs})
    return tuple(Upstream(name, url, named.get(name, common)) for name, url in pairs)


def read_aliases(words: Iterable[str], models: Iterable[str]) -> dict[str, str]:
    """Read ``ALIAS=NAME`` words.

    Raises:
        BadValue: a word can't be read, an alias is taken, or the model is not among ``models``.
    """
    known, aliases = set(models), dict[str, str]()
    for word in words:
        alias, _, name = word.partition("=")
        if not _is_name(alias) or not name:
            raise BadValue("errors_serving.bad_alias", word=word)
        if name not in known:
            raise BadValue("errors_serving.alias_of_nothing", name=name, names=", ".join(sorted(known)))
        if alias in known or aliases.get(alias, name) != name:
            raise BadValue("errors_serving.name_taken", name=alias)
        aliases[alias] = name
    return aliases


def read_groups(words: Iterable[str], upstreams: Iterable[Upstream]) -> tuple[tuple[str, ...], ...]:
    """Read the models that take turns.

    Of a model with several engines the one that was named first takes turns; the others are elsewhere, and are asked
    while it sleeps.

    Args:
        words: as given to ``--group``: ``NAME,NAME``; none = all models are one group.
        upstreams: the engines.

    Raises:
        BadValue: a name that is none, or a model in two groups.
    """
    first: dict[str, str] = {}
    for upstream in upstreams:
        first.setdefault(upstream.model, upstream.url)
    groups = [tuple(dict.fromkeys(name.strip() for name in word.split(","))) for word in words] or [tuple(first)]
    places: dict[str, tuple[str, ...]] = {}
    for group in groups:
        for name in group:
            if name not in first:
                raise BadValue("errors_serving.group_of_nothing", name=name, names=", ".join(sorted(first)))
            if places.setdefault(first[name], group) is not group:
                raise BadValue("errors_serving.group_of_several", name=name)
    return tuple(groups)


def read_pins(names: Iterable[str], groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Read the models that are kept awake.

    Raises:
        BadValue: a name that takes no turns, or two of one group.
    """
    pins = tuple(dict.fromkeys(names))
    for group in groups:
        mine = [name for name in pins if name in group]
        if len(mine) > 1:
            raise BadValue("errors_serving.two_pins", first=mine[0], second=mine[1])
    for name in set(pins) - {name for group in groups for name in group}:
        raise BadValue("errors_serving.pin_of_nothing", name=name)
    return pins


def read_keys(lines: Iterable[str]) -> tuple[str, ...]:
    """Read API keys, one a line; empty lines and lines after ``#`` don't count.

    Raises:
        BadValue: a key that no HTTP header can carry, or no key at all.
    """
    keys = tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))
    if not keys or not all(key.isascii() and key.isprintable() and " " not in key for key in keys):
        raise BadValue("errors_serving.bad_keys")
    return keys


def _upstream(word: str, far: bool) -> tuple[str, str]:
    name, _, url = word.partition("=")
    if not _is_name(name) or not url:
        raise BadValue("errors_serving.bad_upstream", word=word)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadValue("errors_serving.bad_url", url=url) from error
    plain = parts.scheme in {"http", "https"} and host and url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.query or parts.fragment or "@" in parts.netloc or port == 0:
        raise BadValue("errors_serving.bad_url", url=url)
    if is_ip(host) and not is_near(host) and not far:
        raise BadValue("errors_serving.far_upstream", host=host)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return name, f"{parts.scheme}://{parts.netloc.lower()}{path}"


def _key_variables(words: Iterable[str], models: set[str]) -> tuple[dict[str, str], str | None]:
    """Return the variables by model, and the one for all others."""
    named, common = dict[str, str](), None
    for word in words:
        name, found, variable = word.rpartition("=")
        if not variable.isidentifier() or not variable.isascii() or (found and name not in models):
            raise BadValue("errors_serving.bad_upstream_key", word=word)
        if found:
            named[name] = variable
        else:
            common = variable
    return named, common


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name

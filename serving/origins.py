"""Which web pages may call the gateway from a browser.

A browser names the page in ``Origin``; programs send none. Without this, any page that somebody opens could have this
machine's models work for it, and read their answers where its name is pointed at this machine (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from aiohttp import hdrs, web

from serving.errors import Refused, shown

_NOTHING: Mapping[str, str] = MappingProxyType(dict[str, str]())


class Origins:
    """The pages that are allowed.

    Attributes:
        PREFLIGHT: headers that tell a browser what an allowed page may send.
    """

    PREFLIGHT: Mapping[str, str] = MappingProxyType(
        {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "authorization, content-type, x-api-key",
            hdrs.ACCESS_CONTROL_MAX_AGE: "600",
        }
    )

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin.lower().rstrip("/") for origin in allowed)

    def check(self, request: web.BaseRequest) -> Mapping[str, str]:
        """Return the headers that an answer to this request needs.

        Raises:
            Refused: a page sent it that is not allowed to.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return _NOTHING
        if origin.lower() not in self._allowed:
            raise Refused("foreign_page", origin=shown(origin))
        return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin, hdrs.VARY: hdrs.ORIGIN}

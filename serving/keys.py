"""API keys that clients show, compared in a time that tells nothing about them."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256


class KeyRing:
    """The keys that are allowed; only their digests are kept."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    def allows(self, authorization: str, api_key: str) -> bool:
        """Tell whether a request may pass.

        Args:
            authorization: the header ``Authorization``, empty where there is none: ``Bearer KEY``.
            api_key: the header ``x-api-key``, which Anthropic's clients send instead.
        """
        if not self._digests:
            return True
        scheme, _, key = authorization.partition(" ")
        shown = key.strip() if scheme.lower() == "bearer" else api_key
        digest = sha256(shown.encode("utf-8", "surrogateescape")).digest()
        # every key is compared, whichever fits
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

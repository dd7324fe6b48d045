"""What a user may choose about the files of a plan, beside the plan itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tools.errors import BadValue

ALLOWED = {
    "endpoint": ("nginx", "gateway"),
    "page": ("none", "open-webui", "rigfit"),
    "share": ("names", "weights"),
    "sharing": ("slices", "claims"),
}
"""Words of the choices that are not yes or no; the first is the default."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A target takes from these what it knows and leaves the rest, which ``generate`` says.

    Attributes:
        endpoint: what stands in front of several engines: ``nginx`` or Rigfit's own ``gateway``.
        page: a chat page beside the engines: ``none``, ``open-webui`` or ``rigfit``.
        share: how models of one checkpoint share it: one engine under several ``names``, or (experimental) engines of
            their own that share one copy of the ``weights``.
        sharing: how engines on one card get it from Kubernetes: as time ``slices`` of the device plugin, or by one of
            its ``claims`` (dynamic resource allocation, which needs a driver of its own).
        cpu: run on the processor instead of the cards: small models, to try the files out.
        open: let other machines in; every engine then asks for an API key.
    """

    endpoint: str = "nginx"
    page: str = "none"
    share: str = "names"
    sharing: str = "slices"
    cpu: bool = False
    open: bool = False

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise BadValue(
                    "errors_launch.bad_choice",
                    name=name,
                    value=str(getattr(self, name))[:40],
                    allowed=", ".join(allowed),
                )


NAMES = tuple(field.name for field in fields(Choices))
"""Of all choices."""


def choices_from(words: Mapping[str, Any]) -> Choices:
    """Make choices of what was said; names that are not choices and ``None`` are left out.

    Raises:
        BadValue: a choice has no such word.
    """
    return Choices(**{name: words[name] for name in NAMES if words.get(name) is not None})


DEFAULT = Choices()
"""Nothing was chosen."""

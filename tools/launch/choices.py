"""What a user may choose about the files of a plan, beside the plan itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tools.errors import BadValue

ALLOWED = {
    "endpoint": ("nginx", "gateway"),
    "page": ("none", "open-webui", "rigfit"),
    "share": ("names", "weights"),
}
"""Words of the choices that are not yes or no; the first is the default."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A target takes from these what it knows and leaves the rest.

    Attributes:
        endpoint: what stands in front of several engines: ``nginx`` or Rigfit's own ``gateway``.
        page: a chat page beside the engines: ``none``, ``open-webui`` or ``rigfit``.
        share: how models of one checkpoint share it: one engine under several ``names``, or (experimental) engines of
            their own that share one copy of the ``weights``.
        cpu: run on the processor instead of the cards: small models, to try the files out.
        open: let other machines in; every engine then asks for an API key.
    """

    endpoint: str = "nginx"
    page: str = "none"
    share: str = "names"
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


def choices_from(words: dict[str, Any]) -> Choices:
    """Make choices of what was said; names that are not choices and ``None`` are left out.

    Raises:
        BadValue: a choice has no such word.
    """
    known = {field.name for field in fields(Choices)}
    return Choices(**{name: value for name, value in words.items() if name in known and value is not None})


DEFAULT = Choices()
"""Nothing was chosen."""

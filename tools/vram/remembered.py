"""Answers kept by the identity of what was asked about, for functions of a model that many settings share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import ParamSpec, TypeVar

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def remembered(most: int, *, by_identity: int) -> Callable[[Callable[Asked, Answer]], Callable[Asked, Answer]]:
    """Keep a pure function's latest answers; what was asked about is kept with them, so an identity stays its own.

    Args:
        most: answers kept; when there are as many, all are forgotten.
        by_identity: how many first arguments never change and are told apart by identity (comparing a model's layers
            would take longer than most answers). The others are hashable.
    """

    def decorate(function: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
        kept: dict[Hashable, tuple[object, Answer]] = {}

        @wraps(function)
        def ask(*args: Asked.args, **named: Asked.kwargs) -> Answer:
            key = (*map(id, args[:by_identity]), *args[by_identity:], *named.items())
            found = kept.get(key)
            if found is None:
                found = args, function(*args, **named)
                if len(kept) >= most:
                    kept.clear()
                kept[key] = found
            return found[1]

        return ask

    return decorate

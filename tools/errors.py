"""One error tree. An error carries a message code and its parameters; the words live in ``prompts/messages``.

::

    RigfitError
    ├── RequestError          the request can't be read or names something unknown   (exit code 2)
    │   ├── BadValue          a value outside what is allowed
    │   ├── UnknownModel      no such model in the catalogue or on the hub
    │   ├── UnknownGpu        no such card
    │   ├── NotYetExact       an architecture the calculator does not cover exactly yet
    │   ├── EngineRefuses     the engine's own code refuses the model or how it is split
    │   ├── NothingFits       a launch was asked for a plan of which nothing fits
    │   └── NoSuchOption      a plan has no option of that id
    └── ServiceError          a needed service can't be reached                      (exit code 3)
        ├── HubUnavailable    the model hub did not answer
        ├── SearchUnavailable the web search did not answer
        ├── ModelUnavailable  the chat model's endpoint did not answer
        ├── ExactUnavailable  the engine's own code can't be asked here
        └── StorageError      the data folder can't be read or written
"""

from __future__ import annotations


class RigfitError(Exception):
    """Base of everything Rigfit raises on purpose.

    Attributes:
        code: a key of ``prompts/messages``, e.g. ``"errors.unknown_model"``.
        params: values for the message's placeholders; hostile text is allowed here, renderers quote it.
    """

    exit_code = 2

    def __init__(self, code: str, **params: object) -> None:
        self.code = code
        self.params = params
        super().__init__(f"{code} " + " ".join(f"{k}={v!r}" for k, v in params.items()))


class RequestError(RigfitError):
    """The request can't be read or names something unknown."""


class BadValue(RequestError):
    """A value outside what is allowed."""


class UnknownModel(RequestError):
    """No such model in the catalogue or on the hub."""


class UnknownGpu(RequestError):
    """No such card in the catalogue."""


class NotYetExact(RequestError):
    """An architecture or storage format the calculator does not cover exactly yet."""


class EngineRefuses(RequestError):
    """The engine's own code refuses the model or how it is split."""


class NothingFits(RequestError):
    """A launch was asked for a plan of which nothing fits."""


class NoSuchOption(RequestError):
    """A plan has no option of that id."""


class ServiceError(RigfitError):
    """A needed service can't be reached."""

    exit_code = 3


class HubUnavailable(ServiceError):
    """The model hub did not answer."""


class SearchUnavailable(ServiceError):
    """The web search did not answer."""


class ModelUnavailable(ServiceError):
    """The chat model's endpoint did not answer."""


class ExactUnavailable(ServiceError):
    """The engine's own code can't be asked here."""


class StorageError(ServiceError):
    """The data folder can't be read or written."""

"""The model catalogue as the command line uses it: instant, and the hub is asked only about ids it does not know."""

from __future__ import annotations

from tools.live_models import LiveModels
from tools.settings import Settings


def open_models() -> LiveModels:
    """Return the catalogue; a hub id that it does not know is read from the hub where the network is allowed."""
    return LiveModels(Settings.from_env(), override=False)

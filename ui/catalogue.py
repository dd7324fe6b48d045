"""What the command line opens: the model catalogue, and what was measured on this machine.

The catalogue is instant: the hub is asked only about ids it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.calibrations import Calibrations
from tools.domain import Measured
from tools.errors import StorageError
from tools.live_models import LiveModels
from tools.settings import Settings

if TYPE_CHECKING:
    from tools.vram.exact import Exact


def open_models() -> LiveModels:
    """Return the catalogue; a hub id that it does not know is read from the hub where the network is allowed."""
    return LiveModels(Settings.from_env(), override=False)


def open_exact() -> Exact:
    """Return what asks vLLM's own code.

    Raises:
        ExactUnavailable: vLLM is not installed.
    """
    from tools.vram.exact import Exact

    return Exact.open(Settings.from_env())


def open_measured() -> tuple[Measured, ...]:
    """Return what was measured on this machine; a file that can't be read is as good as none, for planning goes on."""
    try:
        return Calibrations(Settings.from_env().data_dir).measured()
    except StorageError:
        return ()

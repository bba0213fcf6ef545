"""Device families. A new one: its file, and a line in ``DEVICES``."""

from typing import Annotated

from mcdev.devices.contract import DeviceConfig
from mcdev.devices.diffusive import Diffusive
from mcdev.devices.diffusive_density import DiffusiveDensity
from mcdev.devices.diffusive_hopping import DiffusiveHopping
from mcdev.devices.omiec_compact import OmiecCompact
from mcdev.devices.omiec_pnp import OmiecPnp
from mcdev.devices.volatile_threshold import VolatileThreshold
from mcdev.devices.yakopcic import Yakopcic
from mcdev.kinds import Kinds

DEVICES: Kinds[DeviceConfig] = Kinds(
    DeviceConfig,
    Diffusive,
    DiffusiveDensity,
    DiffusiveHopping,
    OmiecCompact,
    OmiecPnp,
    VolatileThreshold,
    Yakopcic,
)
Device = Annotated[DeviceConfig, DEVICES]

__all__ = [
    "DEVICES",
    "Device",
    "Diffusive",
    "DiffusiveDensity",
    "DiffusiveHopping",
    "OmiecCompact",
    "OmiecPnp",
    "VolatileThreshold",
    "Yakopcic",
]

"""Device families. A new one: its file, and a line in ``Device``."""

from typing import Annotated

from pydantic import Field

from mcdev.devices.diffusive import Diffusive
from mcdev.devices.diffusive_density import DiffusiveDensity
from mcdev.devices.omiec_compact import OmiecCompact
from mcdev.devices.omiec_pnp import OmiecPnp
from mcdev.devices.volatile_threshold import VolatileThreshold
from mcdev.devices.yakopcic import Yakopcic

Device = Annotated[
    Diffusive | DiffusiveDensity | OmiecCompact | OmiecPnp | VolatileThreshold | Yakopcic, Field(discriminator="kind")
]
Deterministic = Annotated[OmiecCompact | OmiecPnp | VolatileThreshold | Yakopcic, Field(discriminator="kind")]
"""Those of which two with equal parameters behave alike: what may stand beside a device in a circuit."""

__all__ = [
    "Deterministic",
    "Device",
    "Diffusive",
    "DiffusiveDensity",
    "OmiecCompact",
    "OmiecPnp",
    "VolatileThreshold",
    "Yakopcic",
]

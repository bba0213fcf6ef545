"""Device families. A new one: its file, and a line in ``Device``."""

from typing import Annotated

from pydantic import Field

from mcdev.devices.diffusive import Diffusive
from mcdev.devices.diffusive_density import DiffusiveDensity
from mcdev.devices.omiec_compact import OmiecCompact
from mcdev.devices.omiec_pnp import OmiecPnp

Device = Annotated[Diffusive | DiffusiveDensity | OmiecCompact | OmiecPnp, Field(discriminator="kind")]

__all__ = ["Device", "Diffusive", "DiffusiveDensity", "OmiecCompact", "OmiecPnp"]

"""How a device is wired. A new circuit: its file, and a line in ``AnyCircuit``."""

from typing import Annotated

from pydantic import Field

from mcdev.circuits.alone import Alone
from mcdev.circuits.series_memristor import SeriesMemristor
from mcdev.circuits.series_resistor import SeriesResistor

AnyCircuit = Annotated[Alone | SeriesMemristor | SeriesResistor, Field(discriminator="kind")]

__all__ = ["Alone", "AnyCircuit", "SeriesMemristor", "SeriesResistor"]

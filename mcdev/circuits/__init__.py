"""How a device is wired. A new circuit: its file, and a line in ``CIRCUITS``."""

from typing import Annotated

from mcdev.circuits.alone import Alone
from mcdev.circuits.contract import CircuitConfig
from mcdev.circuits.crossbar import Crossbar
from mcdev.circuits.divider import Divider
from mcdev.circuits.network import Network
from mcdev.circuits.neuron import Neuron
from mcdev.circuits.series_memristor import SeriesMemristor
from mcdev.circuits.series_resistor import SeriesResistor
from mcdev.kinds import Kinds

CIRCUITS: Kinds[CircuitConfig] = Kinds(
    CircuitConfig,
    Alone,
    Crossbar,
    Divider,
    Network,
    Neuron,
    SeriesMemristor,
    SeriesResistor,
)
AnyCircuit = Annotated[CircuitConfig, CIRCUITS]

__all__ = [
    "CIRCUITS",
    "Alone",
    "AnyCircuit",
    "Crossbar",
    "Divider",
    "Network",
    "Neuron",
    "SeriesMemristor",
    "SeriesResistor",
]

"""What is done to a device. A new protocol: its file, and a line in ``PROTOCOLS``."""

from typing import Annotated

from mcdev.kinds import Kinds
from mcdev.protocols.bipolar_cycle import BipolarCycle
from mcdev.protocols.hold import Hold
from mcdev.protocols.impedance import Impedance
from mcdev.protocols.pulse import Pulse
from mcdev.protocols.pulse_train import PulseTrain
from mcdev.protocols.rate_change import RateChange
from mcdev.protocols.recovery import Recovery
from mcdev.protocols.srdp import Srdp
from mcdev.protocols.stdp import Stdp
from mcdev.protocols.timeline import Protocol
from mcdev.protocols.triangular_sweep import TriangularSweep
from mcdev.protocols.waveform import Waveform

PROTOCOLS: Kinds[Protocol] = Kinds(
    Protocol,
    BipolarCycle,
    Hold,
    Impedance,
    Pulse,
    PulseTrain,
    RateChange,
    Recovery,
    Srdp,
    Stdp,
    TriangularSweep,
    Waveform,
)
AnyProtocol = Annotated[Protocol, PROTOCOLS]

__all__ = [
    "PROTOCOLS",
    "AnyProtocol",
    "BipolarCycle",
    "Hold",
    "Impedance",
    "Pulse",
    "PulseTrain",
    "RateChange",
    "Recovery",
    "Srdp",
    "Stdp",
    "TriangularSweep",
    "Waveform",
]

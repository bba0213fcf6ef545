"""What is read off one trajectory. A new measurement: its file, and a line in ``MEASUREMENTS``."""

from typing import Annotated

from mcdev.kinds import Kinds
from mcdev.measurements.contract import Measurement
from mcdev.measurements.course_of_current import CourseOfCurrent
from mcdev.measurements.delay_time import DelayTime
from mcdev.measurements.equivalent_circuit import EquivalentCircuit
from mcdev.measurements.exponential_fit import ExponentialFit
from mcdev.measurements.firing import Firing
from mcdev.measurements.firing_rate import FiringRate
from mcdev.measurements.hold_voltage import HoldVoltage
from mcdev.measurements.impedance_at import ImpedanceAt
from mcdev.measurements.inflection import Inflection
from mcdev.measurements.interspike_interval import InterspikeInterval
from mcdev.measurements.loop_area import LoopArea
from mcdev.measurements.mean_conductance import MeanConductance
from mcdev.measurements.mean_current import MeanCurrent
from mcdev.measurements.memristor_change import MemristorChange
from mcdev.measurements.on_off_ratio import OnOffRatio
from mcdev.measurements.paired_pulse import PairedPulse
from mcdev.measurements.peak_pulse import PeakPulse
from mcdev.measurements.pulse_conductance import PulseConductance
from mcdev.measurements.relaxation_time import RelaxationTime
from mcdev.measurements.spike_amplitude import SpikeAmplitude
from mcdev.measurements.spike_count import SpikeCount
from mcdev.measurements.spike_latency import SpikeLatency
from mcdev.measurements.spike_width import SpikeWidth
from mcdev.measurements.switching_slope import SwitchingSlope
from mcdev.measurements.threshold_voltage import ThresholdVoltage
from mcdev.measurements.turn_on_voltage import TurnOnVoltage
from mcdev.measurements.weight_change import WeightChange

MEASUREMENTS: Kinds[Measurement] = Kinds(
    Measurement,
    CourseOfCurrent,
    DelayTime,
    EquivalentCircuit,
    ExponentialFit,
    Firing,
    FiringRate,
    HoldVoltage,
    ImpedanceAt,
    Inflection,
    InterspikeInterval,
    LoopArea,
    MeanConductance,
    MeanCurrent,
    MemristorChange,
    OnOffRatio,
    PairedPulse,
    PeakPulse,
    PulseConductance,
    RelaxationTime,
    SpikeAmplitude,
    SpikeCount,
    SpikeLatency,
    SpikeWidth,
    SwitchingSlope,
    ThresholdVoltage,
    TurnOnVoltage,
    WeightChange,
)
AnyMeasurement = Annotated[Measurement, MEASUREMENTS]

__all__ = ["MEASUREMENTS", "AnyMeasurement"]

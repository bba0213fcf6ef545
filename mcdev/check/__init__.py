"""Whether kinds keep their contract: what `mcdev check` tries, and the house's own test.

A device is tried in every circuit, under the voltages of every protocol, with four lanes whose parameters differ, from
the beginning on: a few samples, each as long as the device's own steps allow. What is expected of each pair:

    shapes      every channel [sample, lane], inner coordinates [sample, part, lane], profiles [sample, bin]
    finite      every number, and every lane intact
    jit = eager the same to rounding, compiled or operation by operation
    lanes       a lane comes out the same, bit for bit, whatever its neighbours are
    gradient    where a device says that it is differentiable: against central differences

Measurements, fits, protocols and pictures are tried by themselves. Each failure is one line: what was expected, what
was found, for which pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mcdev.check.element import check_conductor
from mcdev.check.examples import experiment_of, table_of
from mcdev.check.failure import Failure
from mcdev.check.fields import check_fields
from mcdev.check.fit import check_fit
from mcdev.check.instrument import check_instrument
from mcdev.check.measurement import check_measurement
from mcdev.check.pair import check_pair
from mcdev.check.protocol import check_protocol
from mcdev.circuits import CIRCUITS
from mcdev.circuits.contract import CircuitConfig
from mcdev.circuits.elements import ELEMENTS
from mcdev.circuits.elements.contract import Conductor
from mcdev.configuration.plugins import Plugin
from mcdev.devices import DEVICES
from mcdev.devices.contract import DeviceConfig
from mcdev.fits import FITS
from mcdev.fits.contract import Fit
from mcdev.kinds import Kind
from mcdev.measured.instruments import INSTRUMENTS, Instrument
from mcdev.measurements import MEASUREMENTS
from mcdev.measurements.contract import Measurement
from mcdev.protocols import PROTOCOLS
from mcdev.protocols.timeline import Protocol


def check_house() -> Iterator[Failure]:
    """The house's own: every pair, and every kind by itself."""
    yield from check_kinds([*PROTOCOLS, *MEASUREMENTS, *FITS, *ELEMENTS, *INSTRUMENTS])
    yield from _pairs(list(DEVICES), list(CIRCUITS), list(PROTOCOLS))


def check_plugin(plugin: Plugin) -> Iterator[Failure]:
    """What a plugin defines: each of its devices, circuits and protocols with all of the other two."""

    def own(contract: Any) -> list[type[Any]]:
        return [kind for kind in plugin.kinds if issubclass(kind, contract)]

    devices, circuits, protocols = own(DeviceConfig), own(CircuitConfig), own(Protocol)
    yield from _pairs(devices, list(CIRCUITS), list(PROTOCOLS))
    yield from _pairs([each for each in DEVICES if each not in devices], circuits, list(PROTOCOLS))
    others = [each for each in CIRCUITS if each not in circuits]
    yield from _pairs([each for each in DEVICES if each not in devices], others, protocols)
    yield from check_kinds(plugin.kinds)


def _pairs(
    devices: Sequence[type[Kind]], circuits: Sequence[type[Kind]], protocols: Sequence[type[Kind]]
) -> Iterator[Failure]:
    for device in devices:
        for circuit in circuits:
            yield from check_pair(device, circuit, protocols)


def check_kinds(kinds: Iterable[type[Kind]]) -> Iterator[Failure]:
    """Each by itself."""
    for kind in kinds:
        yield from check_fields(kind)
        if issubclass(kind, Protocol):
            yield from check_protocol(kind)
        elif issubclass(kind, Measurement):
            yield from check_measurement(kind)
        elif issubclass(kind, Fit):
            yield from check_fit(kind)
        elif issubclass(kind, Conductor):
            yield from check_conductor(kind)
        elif issubclass(kind, Instrument):
            yield from check_instrument(kind)


__all__ = [
    "Failure",
    "check_fields",
    "check_house",
    "check_kinds",
    "check_measurement",
    "check_pair",
    "check_plugin",
    "experiment_of",
    "table_of",
]

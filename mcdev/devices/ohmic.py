"""I = G V, with the G that a state gives."""

from __future__ import annotations

from mcdev.devices.contract import CurrentLaw, PerLane


class Ohmic(CurrentLaw):
    """I = G V while the state is held."""

    conductance: PerLane
    """G (S)."""

    def current(self, voltage: PerLane) -> PerLane:
        return self.conductance * voltage

    def chord(self, voltage: PerLane) -> PerLane:
        return self.conductance

"""Electrochemical impedance spectroscopy, EIS (Shin et al. 2022, section 2.3 and Fig. 2)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Unit, Voltage, refuse


class Impedance(Protocol):
    """Hold a bias until the device has settled, then take the small-signal impedance about that state.

    The spectrum is the derivative of the device's own equations, not a sine in time: it has no noise, needs no
    settling at each frequency, and is the limit of a small amplitude.
    """

    kind: Literal["impedance"] = "impedance"
    bias: Voltage = 0.0
    """Voltage that is held, and about which the response is linear."""
    settling: Duration = 1.0
    """Time at the bias before the spectrum is taken."""
    amplitude: Annotated[float, Unit("V", gt=0)] = 0.1
    """Amplitude of the instrument, for the record: the linearised response does not depend on it."""
    lowest: Annotated[float, Unit("Hz", gt=0)] = 1.0
    """Lowest frequency."""
    highest: Annotated[float, Unit("Hz", gt=0)] = 1e6
    """Highest frequency."""
    per_decade: int = Field(10, ge=1, le=1000)
    """Frequencies per decade."""
    samples: int = Field(20, ge=1, le=100_000)
    """Samples recorded while settling."""

    equilibrium: ClassVar[bool] = False

    @model_validator(mode="after")
    def _consistent(self) -> Impedance:
        if self.highest <= self.lowest:
            refuse(f"{self.highest:g} Hz", f"expected highest > lowest ({self.lowest:g} Hz)", key="highest")
        if not self.highest / self.lowest < 1e100:
            refuse(f"{self.lowest:g} Hz", f"expected less than 100 decades below {self.highest:g} Hz", key="lowest")
        return self

    @property
    def frequencies(self) -> np.ndarray:
        decades = np.log10(self.highest / self.lowest)
        return np.geomspace(self.lowest, self.highest, max(2, 1 + round(decades * self.per_decade)))

    def pieces(self) -> list[Piece]:
        return [Piece(self.settling, self.bias, self.bias, self.samples, ("bias",))]

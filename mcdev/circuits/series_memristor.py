"""A second memristor in series with the device: the synapse of Wang et al. (2017, doi:10.1038/nmat4756, Fig. 6a) and of
Shin et al. (2022, doi:10.1039/d1ma01078f, Fig. 7a).

    V = v_1 + v_2,    I_1(v_1) = I_2(v_2)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mcdev.circuits.elements import Memristor
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.loop import IN, OUT, SECOND, Loop
from mcdev.circuits.wired import Part, part
from mcdev.devices import Device
from mcdev.devices.contract import DeviceConfig
from mcdev.schema import Name


class SeriesMemristor(Loop):
    """The device in series with a second memristor, which has a state and parameters of its own. Elements V1, M1, M2;
    nodes in, out."""

    kind: Literal["series_memristor"] = "series_memristor"
    example: ClassVar[Mapping[str, Any]] = {"memristor": {"preset": "wang2017_taox"}}
    memristor: Device
    """The second memristor M2, between the device and ground."""
    reversed: bool = False
    """Whether its terminals are exchanged, so that a positive source gives it a negative voltage."""
    record: tuple[Name, ...] = (SECOND,)
    """Names of the elements and nodes that are recorded besides the first memristor; by default the second one."""

    def parts(self) -> dict[str, Part]:
        ends = (GROUND, OUT) if self.reversed else (OUT, GROUND)
        return self.source | {
            "M1": part(Memristor, IN, OUT, {}),
            SECOND: part(Memristor, *ends, {}, "memristor"),
        }

    def table(self, key: str) -> DeviceConfig:
        return self.memristor

"""The formats of instruments' files. A new one: its file, and a line in ``INSTRUMENTS``."""

from __future__ import annotations

from collections.abc import Mapping

from mcdev.kinds import Kinds
from mcdev.measured.instruments.arc_one import ArcOne
from mcdev.measured.instruments.biologic import BioLogic
from mcdev.measured.instruments.chi import Chi
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.instruments.easyexpert import EasyExpert
from mcdev.measured.instruments.gamry import Gamry
from mcdev.measured.instruments.keithley_4200 import Keithley4200
from mcdev.measured.instruments.keysight_scope import KeysightScope
from mcdev.measured.instruments.parstat import Parstat
from mcdev.measured.instruments.rigol import Rigol
from mcdev.measured.instruments.tektronix import Tektronix
from mcdev.measured.instruments.versastudio import VersaStudio
from mcdev.measured.instruments.zplot import ZPlot

INSTRUMENTS: Kinds[Instrument] = Kinds(
    Instrument,
    ArcOne,
    BioLogic,
    Chi,
    EasyExpert,
    Gamry,
    Keithley4200,
    KeysightScope,
    Parstat,
    Rigol,
    Tektronix,
    VersaStudio,
    ZPlot,
)

NOT_READ: Mapping[str, str] = {
    "wgfmu": "WGFMU: its driver writes no file of measurements, what is saved depends on the script that ran; tests in "
    "EasyEXPERT are read as easyexpert",
    "keithley_2600": "Keithley 2600: what is saved depends on the script that ran, and no common shape is published",
}
"""Formats that people ask for by name and that are not read, and why."""


def instrument(name: str) -> Instrument:
    """The format of this name, which is one of ``INSTRUMENTS``."""
    return INSTRUMENTS[name](kind=name)


__all__ = ["INSTRUMENTS", "NOT_READ", "Instrument", "instrument"]

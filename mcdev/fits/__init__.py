"""Fits of a measurement along a sweep axis. A new fit: its file, and a line in ``AnyFit``."""

from typing import Annotated

from pydantic import Field

from mcdev.fits.arrhenius import Arrhenius
from mcdev.fits.double_exponential import DoubleExponential
from mcdev.fits.stdp_window import StdpWindow

AnyFit = Annotated[Arrhenius | DoubleExponential | StdpWindow, Field(discriminator="kind")]

__all__ = ["AnyFit", "Arrhenius", "DoubleExponential", "StdpWindow"]

"""Fits of a measurement along a sweep axis. A new fit: its file, and a line in ``FITS``."""

from typing import Annotated

from mcdev.fits.arrhenius import Arrhenius
from mcdev.fits.contract import Fit
from mcdev.fits.double_exponential import DoubleExponential
from mcdev.fits.stdp_window import StdpWindow
from mcdev.kinds import Kinds

FITS: Kinds[Fit] = Kinds(
    Fit,
    Arrhenius,
    DoubleExponential,
    StdpWindow,
)
AnyFit = Annotated[Fit, FITS]

__all__ = ["FITS", "AnyFit", "Arrhenius", "DoubleExponential", "StdpWindow"]

"""Fits of a measurement along a sweep axis. A new fit: its file, and a line in ``AnyFit``."""

from mcdev.fits.arrhenius import Arrhenius

AnyFit = Arrhenius

__all__ = ["AnyFit", "Arrhenius"]

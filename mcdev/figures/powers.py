"""A power of ten of an axis stands in its label: ``conductivity (10⁻¹⁰ S/cm)``. Beside the axis, where matplotlib
writes it, it would lie on the label."""

from __future__ import annotations

from typing import Any

from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import ScalarFormatter


class PowerInLabel(ScalarFormatter):
    """Numbers of a linear axis. The power that they have in common is written into the label of the axis, and of that
    which shares it; an axis without a label keeps it at its end."""

    def __init__(self) -> None:
        super().__init__(useOffset=False, useMathText=False)
        self._known: dict[int, tuple[str, str]] = {}

    def set_locs(self, locs: Any) -> None:
        super().set_locs(locs)
        for axis in self._axes():
            self._write(axis)

    def get_offset(self) -> str:
        return "" if any(axis.get_label_text() for axis in self._axes()) else self._own_offset()

    def _own_offset(self) -> str:
        """``1e-10``, or nothing."""
        return str(super().get_offset()).replace("\N{MINUS SIGN}", "-")

    def _axes(self) -> list[Axis]:
        """This axis and those that share its formatter."""
        own: Any = self.axis
        across = isinstance(own, XAxis)
        shared = own.axes.get_shared_x_axes() if across else own.axes.get_shared_y_axes()
        every = (axes.xaxis if across else axes.yaxis for axes in shared.get_siblings(own.axes))
        return [axis for axis in every if axis.get_major_formatter() is self]

    def _write(self, axis: Axis) -> None:
        """The label with the power; from the label without one, whoever has written it."""
        written, bare = self._known.get(id(axis), ("", ""))
        text = axis.get_label_text()
        bare = bare if text == written else text
        if not bare:
            return
        power = f"$10^{{{offset.removeprefix('1e')}}}$" if (offset := self._own_offset()) else ""
        name, bracket, unit = bare.rpartition(" (") if bare.endswith(")") else (bare, "", "")
        text = bare
        if power:
            text = f"{name} ({power} {unit}" if bracket else f"{bare} ({power})"
        self._known[id(axis)] = (text, bare)
        if text != axis.get_label_text():
            axis.set_label_text(text)

"""A plugin of mcdev: the files of a data logger, ``!LOGGER`` in the first line, rows ``t;u;i`` in ms, mV and nA."""

from typing import Literal

from mcdev.measured.columns import Known
from mcdev.measured.instruments import Instrument
from mcdev.measured.sheet import Row, cut, from_cells, lines_of


class MyInstrument(Instrument):
    """Every line below the first is a row."""

    kind: Literal["my_instrument"] = "my_instrument"
    title = "my data logger"

    def recognises(self, text):
        return text.startswith("!LOGGER")

    def read(self, text, layout):
        header = Row(1, "!LOGGER", ["t", "u", "i"])
        rows = [cut(at, line, ";") for at, line in lines_of(text) if at > 1]
        if not rows:
            raise ValueError("no rows below the first line, as my data logger writes them")
        known = {"time": Known(0, "ms"), "voltage": Known(1, "mV"), "current": Known(2, "nA")}
        return from_cells(header, rows, known)

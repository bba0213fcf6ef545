"""BioLogic EC-Lab: text exports (.mpt), and its own files (.mpr) through the library galvani.

``EC-Lab ASCII FILE``, the number of header lines in the second line, names with units in the last of them
(``freq/Hz``, ``Re(Z)/Ohm``, ``-Im(Z)/Ohm``, ``Ewe/V``, ``I/mA``), rows between tabs, on some computers with decimal
commas.
"""

from __future__ import annotations

import re
from typing import Literal

from mcdev.measured.columns import Layout, understood
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Sheet, cut, from_cells, lines_of

_COUNT = re.compile(r"Nb header lines\s*:\s*(\d+)")
BINARY = b"BIO-LOGIC MODULAR FILE"
"""How an .mpr begins."""


class BioLogic(Instrument):
    """The names say what the columns are."""

    kind: Literal["biologic"] = "biologic"
    title = "BioLogic EC-Lab"

    def recognises(self, text: str) -> bool:
        return text.startswith(("EC-Lab ASCII FILE", "BT-Lab ASCII FILE"))

    def read(self, text: str, layout: Layout) -> Sheet:
        count = _COUNT.search(text[:2000])
        if count is None:
            raise ValueError("no line 'Nb header lines : N', as EC-Lab writes in its second line; export the text anew")
        rows = [cut(at, line, "\t") for at, line in lines_of(text) if at >= int(count[1])]
        if not rows or rows[0].number != int(count[1]):
            raise ValueError(f"line {count[1]} is to hold the names of the columns, and is empty; export the text anew")
        header, *rows = rows
        while not header.cells[-1]:
            header.cells.pop()
        said: tuple[str, ...] = ()
        if any("," in cell for row in rows for cell in row.cells):
            rows = [row._replace(cells=[cell.replace(",", ".") for cell in row.cells]) for row in rows]
            said = ("numbers have a decimal comma",)
        return from_cells(header, rows, known=understood(header.cells), said=said)


def text_of_binary(data: bytes) -> str:
    """An .mpr as text of the same columns. Raises ``ValueError`` where galvani is not there or does not read it."""
    try:
        from galvani.BioLogic import MPRfile
    except ImportError:
        raise ValueError(
            "is a binary file of EC-Lab (.mpr), which the library galvani reads: pip install 'mcdev[instruments]'; or "
            "export it as text (.mpt)"
        ) from None
    import io

    try:
        table = MPRfile(io.BytesIO(data)).data
    except Exception as error:  # a stranger's file in somebody else's reader
        raise ValueError(
            f"is a binary file of EC-Lab that galvani does not read ({error}); export it as text"
        ) from None
    names = [str(name) for name in table.dtype.names]
    lines = ["EC-Lab ASCII FILE", "Nb header lines : 3", "\t".join(names)]
    return "\n".join([*lines, *("\t".join(repr(float(x)) for x in row) for row in table.tolist())])

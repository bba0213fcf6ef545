"""Measured files: tables with a name and a unit on every column. Nothing is accepted that is not understood.

``read_table`` gives the columns in SI units, or one error that names file, line, column and remedy.
"""

from mcdev.measured.columns import Layout, Quantity
from mcdev.measured.table import SENTINEL, Table, read_table

__all__ = ["SENTINEL", "Layout", "Quantity", "Table", "read_table"]

"""Measured files: tables with a name and a unit on every column. Nothing is accepted that is not understood.

``read_table`` and ``read_recording`` give the columns in SI units, or one error that names file, line, column and
remedy. A file's format is an instrument's (`instruments/`) or plain text (`sheet.py`).
"""

from mcdev.measured.columns import Layout, Quantity
from mcdev.measured.recording import SENTINEL, Recording, read_recording, read_table

__all__ = ["SENTINEL", "Layout", "Quantity", "Recording", "read_recording", "read_table"]

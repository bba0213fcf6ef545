"""What every format is: a word by which a configuration names it, how its files are recognised, and a reading."""

from __future__ import annotations

import abc
from typing import ClassVar

from mcdev.kinds import Kind
from mcdev.measured.columns import Layout
from mcdev.measured.sheet import Sheet


class Instrument(Kind, abc.ABC):
    """The files of one kind of instrument, or of the program that reads it out."""

    title: ClassVar[str]
    """What people call it."""

    @abc.abstractmethod
    def recognises(self, text: str) -> bool:
        """Whether a file's text is of this format: by words that only this format has. ``text`` may be cut off."""

    @abc.abstractmethod
    def read(self, text: str, layout: Layout) -> Sheet:
        """The file as cells. Raises ``ValueError`` saying what is wrong and what to do."""

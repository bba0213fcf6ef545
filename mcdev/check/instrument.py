"""An instrument's format by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcdev.check.failure import Failure, first_line
from mcdev.kinds import name_of
from mcdev.measured import Layout
from mcdev.measured.instruments import Instrument


def check_instrument(kind: type[Any]) -> Iterator[Failure]:
    """A format takes no other text for its own, and refuses what is none of it with ``ValueError``."""
    name = name_of(kind)
    format_: Instrument = kind(kind=name)
    if not isinstance(getattr(format_, "title", None), str):
        yield Failure(f"{name}.title", "what people call it", "none")
    for text in ("", "a\n", "time (s),voltage (V)\n0,0\n1,1\n", '"', "\t\n\t;,\n" * 3):
        for what, call in (("recognises()", format_.recognises), ("read()", lambda t: format_.read(t, Layout()))):
            try:
                found = call(text)
            except ValueError:
                continue
            except Exception as error:  # a stranger's code
                yield Failure(f"{name}, {what} of {text!r}", "an answer or ValueError", first_line(error))
                continue
            if what == "recognises()" and found is not False:
                yield Failure(f"{name}, {what} of {text!r}", "False: other formats have such texts", repr(found))

"""The command line: new · run · calibrate · look · measure · stats · compare · plot · report · export · list · show ·
diff · remove · validate · check · schema · presets · doctor.

Exit codes: 0 done; 1 done, but some realisations broke down; 2 wrong usage or configuration; 3 a file or folder
cannot be read or written; 4 not enough memory; 130 interrupted (Ctrl-C); 143 terminated (SIGTERM, as by a cluster's
time limit).
"""

from __future__ import annotations

import os
import signal
import sys

from mcdev.configuration.problems import ConfigError
from mcdev.files.whole_file import ResultsError
from mcdev.interface import computing, keeping, looking, measuring, starting
from mcdev.interface.application import app
from mcdev.interface.ending import CONFIG, FILES, MEMORY, SIGNALS, STOPPED, Interrupted, Leave, interrupt
from mcdev.interface.terminal import STDERR, STDOUT, outlets
from mcdev.machine.environment import NoBackend
from mcdev.machine.memory import NotEnoughMemory

__all__ = ["computing", "keeping", "looking", "main", "measuring", "starting"]  # imported for their commands


def main() -> None:
    """Entry point: turns the errors that a user can mend into one message and an exit code."""
    with outlets() as output:
        try:
            _main()
        except SystemExit as leaving:
            code = leaving.code
        else:
            code = 0
        output.flush()
        if output.failure is not None and not isinstance(output.failure, BrokenPipeError):
            why = output.failure.strerror or output.failure
            message = f"standard output cannot be written ({why}); what was written to files is whole"
            STDERR.say(message, "error", "bold red")
            code = code or FILES
    sys.exit(code)


def _main() -> None:
    STDOUT.hushed = STDERR.hushed = False
    before = [signal.signal(number, interrupt) for number in SIGNALS]
    try:
        app()
    except ConfigError as error:
        _fail(str(error), CONFIG)
    except Leave as error:
        _fail(str(error), error.code)
    except NoBackend as error:
        _fail(str(error), CONFIG)
    except ResultsError as error:
        _fail(str(error), FILES)
    except NotEnoughMemory as error:
        _fail(str(error), MEMORY)
    except Interrupted as stop:
        _fail("stopped; what was not finished is not written", stop.code)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)


def _fail(message: str, code: int) -> None:
    STDERR.say(message, "error", "bold red")
    if code > STOPPED:  # a thread that compiles cannot be stopped, and writes nothing: leave without it
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)

"""What a folder says of itself: whose work it holds, and who else had a part in it. One process at a time works there.

A record is compared before anything is taken from its folder. Where something else was asked for, or the code is
another, the folder is refused; where only the machine is another, its bits would differ, and the user may accept that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import filelock
from pydantic import BaseModel, ValidationError

from mcdev.configuration.key_paths import changed_keys
from mcdev.configuration.problems import shown
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.identity import Identity, Origin, differences, exclusive, told
from mcdev.machine.provenance import ACCEPT
from mcdev.schema import Strict

_SHOWN = 6  # changed keys that a message names
_LOCK = ".lock"
_HALF = ".*-????????.tmp"  # as `whole_file` names what it has not finished


class Record(Strict):
    """A folder's identity."""

    version: Literal[2] = 2
    identity: Identity
    accepted: tuple[Origin, ...] = ()
    """Other machines, whose part in it the user has accepted."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        return (self.identity.origin, *self.accepted)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Of everything that belongs into the folder."""
        return tuple(self.identity.made_by(origin) for origin in self.origins)


class _Versioned(BaseModel):
    """What every record says, of whatever version."""

    version: int


Kind = TypeVar("Kind", bound=Record)


def read_record(path: Path, kind: type[Kind], what: str) -> Kind:
    """The record of a folder. Raises ``ResultsError`` where there is none, or one of another version of mcdev."""
    try:
        text = path.read_bytes()
    except OSError:
        raise ResultsError(f"{path.parent} holds no {what} that was begun; leave out --resume") from None
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        pass
    begin_anew = "begin anew without --resume, or in another folder"
    if text.startswith(b'{"fingerprint":'):
        raise ResultsError(
            f"{path.parent} was begun by an older mcdev, which did not write down what its numbers depend on; "
            f"{begin_anew} (mcdev stats shows results that are there)"
        )
    with contextlib.suppress(ValidationError):
        if _Versioned.model_validate_json(text).version > 2:
            raise ResultsError(f"{path.parent} was begun by a newer mcdev; update mcdev, or {begin_anew}")
    raise ResultsError(f"{path} is damaged; {begin_anew}")


def write_record(path: Path, record: Record) -> None:
    """Whole, or as it was. Raises ``ResultsError`` where it cannot be written."""
    with whole_file(path) as temporary:
        temporary.write_text(record.model_dump_json(), encoding="utf-8")


def agreed(record: Kind, own: Identity, folder: Path, accept: bool, changed: Callable[[], Iterable[str]]) -> Kind:
    """The record, where the work that it tells of may be gone on with or taken up by ``own``; with this machine among
    those accepted, if need be and ``accept`` says so. ``changed`` says how the configuration differs, where it does.

    Raises ``ResultsError`` that names what differs and what to do.
    """
    there = record.identity
    never = exclusive(differences(there.origin, own.origin))
    if never:
        raise ResultsError(
            f"{folder} was begun with another version of the code or backend ({told(never)}); give those it was begun "
            "with, or begin anew without --resume (mcdev stats shows results that are there)"
        )
    if own.asks_otherwise(there):
        how = "; ".join(changed())
        raise ResultsError(
            f"{folder} was begun with another configuration ({how}); give the one it was begun with, or begin anew "
            "without --resume"
        )
    if own.origin in record.origins:
        return record
    if not accept:
        raise ResultsError(
            f"{folder} was begun on another machine ({told(differences(there.origin, own.origin))}); numbers of the "
            f"two differ in their last bits. Go on where it was begun, or with {ACCEPT}, which the results will say"
        )
    return record.model_copy(update={"accepted": (*record.accepted, own.origin)})


def stranger(own: Origin, worker: Origin) -> ResultsError:
    """What is said of a worker that is another machine than those accepted."""
    how = told(differences(own, worker))
    return ResultsError(
        f"a worker is another machine ({how}), whose numbers differ in their last bits; "
        f"take workers of one kind, or {ACCEPT}, which the results will say"
    )


def changes(there: Any, here: Any) -> list[str]:
    """How one configuration differs from another, key by key, in words."""
    found = list(changed_keys(there, here))
    lines = [f"{path}: {shown(a)} there, {shown(b)} here" for path, a, b in found[:_SHOWN]]
    return lines + ([f"and {len(found) - _SHOWN} more keys"] if len(found) > _SHOWN else [])


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder, for this process alone, and clear the halves of files that a kill has left in it.

    Raises ``ResultsError`` where another is at work there, or nothing can be written.
    """
    if not folder.is_dir():
        raise ResultsError(f"{folder} does not exist")
    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ResultsError(
            f"{folder} is being worked on by another run; wait for it, or choose another folder"
        ) from None
    except OSError as error:
        raise ResultsError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        for half in (*folder.glob(_HALF), *folder.glob(f"*/{_HALF}")):
            half.unlink(missing_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is held, so that nobody holds a lock that is no longer there
            (folder / _LOCK).unlink(missing_ok=True)
        lock.release()


def unused(folder: Path, own: dict[str, str]) -> bool:
    """Whether nothing lies in a folder but what a run leaves there that was killed before its first record: its lock,
    halves of files, and ``own`` files, of which this run would write the same (name → text)."""

    def ours(path: Path) -> bool:
        if path.name in own:
            with contextlib.suppress(OSError, ValueError):
                return path.read_text(encoding="utf-8") == own[path.name]
        return path.name == _LOCK or path.match(_HALF)

    return folder.is_dir() and all(ours(path) for path in folder.iterdir())

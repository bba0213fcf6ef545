"""Plugins: a user's own kinds and pictures, from a Python file or an installed package, without a fork.

    load_plugin("my_device.py")        # or --plugin my_device.py in a command line

A file is named by the user, never by a configuration: a TOML file from a stranger runs no code. An installed package
names a module in its entry points, in the group ``mcdev.plugins``. Loading makes known what the file itself defines:
every class of a device, circuit, element, protocol, measurement, fit or instrument's format that has a ``kind``, and
its picture.

The SHA-256 of the source goes with the results that it has a part in. An experiment that is sent to another process
takes the source of its plugins along.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import linecache
import pickle
import re
import sys
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mcdev.circuits import CIRCUITS
from mcdev.circuits.elements import ELEMENTS
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.devices import DEVICES
from mcdev.fits import FITS
from mcdev.kinds import Kind, Kinds, name_of
from mcdev.measured.instruments import INSTRUMENTS
from mcdev.measurements import MEASUREMENTS
from mcdev.protocols import PROTOCOLS

GROUP = "mcdev.plugins"
"""Of the entry points by which installed packages name their modules."""
PREFIX = "mcdev_plugin_"
"""Of the modules that files become."""
ROOMS: dict[str, Kinds[Any]] = {
    "device": DEVICES,
    "circuit": CIRCUITS,
    "element": ELEMENTS,
    "protocol": PROTOCOLS,
    "measurement": MEASUREMENTS,
    "fit": FITS,
}
"""The open lists of what a configuration's sections may be, by what is in them."""
LISTS: dict[str, Kinds[Any]] = ROOMS | {"instrument": INSTRUMENTS}
"""All open lists: besides, the formats of measured files."""
_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Source:
    """What a plugin is loaded from, in any process."""

    name: str
    """The file's, or the module's of an installed package."""
    text: bytes | None
    """Of a file; None of an installed package, which every process finds where it is installed."""
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.sha256}"


@dataclass(frozen=True)
class Plugin:
    """A plugin that is loaded."""

    source: Source
    module: types.ModuleType
    path: Path | None = None
    """The file as the user named it; None where it did not come from one here."""
    kinds: list[type[Kind]] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)
    """Modules with ``NAME``, ``applies`` and ``draw``, as in `figures/`."""


_loaded: dict[str, Plugin] = {}
"""By the name of the module."""


def loaded() -> tuple[Plugin, ...]:
    """The plugins of this process, in the order in which they were loaded."""
    return tuple(_loaded.values())


def plugins_of(tables: Iterable[Kind]) -> tuple[Plugin, ...]:
    """The plugins that these tables are of."""
    classes = {type(table) for table in tables}
    return tuple(plugin for plugin in loaded() if classes & set(plugin.kinds))


def load_plugin(path: str | Path) -> Plugin:
    """Make the kinds and the picture of a Python file known. A file that is loaded already is not run again.

    Raises ``ConfigError`` where the file cannot be read or run, defines nothing, or a name of its is taken.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _refusal(str(path), f"cannot be read ({error.strerror})") from None
    return _load(Source(path.name, text, hashlib.sha256(text).hexdigest()), path)


@functools.cache
def load_installed() -> None:
    """The same for every installed package that has an entry point for it. Raises ``ConfigError``."""
    for entry in importlib.metadata.entry_points(group=GROUP):
        _load_module(entry.module)


def _load(source: Source, path: Path | None = None) -> Plugin:
    name = PREFIX + re.sub(r"\W", "_", Path(source.name).stem)
    if (known := _known(name, source)) is not None:
        return known
    file = str(path or f"<plugin {source.name}>")
    module = types.ModuleType(name)
    module.__file__ = file
    assert source.text is not None
    lines = source.text.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[file] = (len(source.text), None, lines, file)  # where there is no such file, in another process
    sys.modules[name] = module  # what looks up a class by its module's name must find it
    try:
        exec(compile(source.text, file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _refusal(str(path or source.name), _reason(error, file)) from None
    return _admit(Plugin(source, module, path))


def _load_module(name: str) -> Plugin:
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        why = f"{_reason(error, '')}; mend or uninstall the package that has this entry point of {GROUP}"
        raise _refusal(name, why) from None
    source = Source(name, None, _installed_hash(module))
    return _known(name, source) or _admit(Plugin(source, module))


def _installed_hash(module: types.ModuleType) -> str:
    """SHA-256 of a module's source; of a package, of all its sources."""
    file = Path(str(module.__file__))
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for each in files:
        digest.update(each.relative_to(file.parent).as_posix().encode())
        digest.update(each.read_bytes())
    return digest.hexdigest()


def _known(name: str, source: Source) -> Plugin | None:
    """The plugin that is loaded under a module's name, if there is one."""
    plugin = _loaded.get(name)
    if plugin is not None and plugin.source.sha256 != source.sha256:
        raise _refusal(
            source.name,
            f"is loaded already with another source ({plugin.source.sha256[:12]} there, {source.sha256[:12]} here); "
            "start Python, or the worker, anew, or give the file another name",
        )
    return plugin


def _admit(plugin: Plugin) -> Plugin:
    """Add what a plugin's module defines to the open lists; all of it or nothing."""
    name = plugin.module.__name__
    own = [value for value in vars(plugin.module).values() if _within(getattr(value, "__module__", ""), name)]
    found = [(room, value) for value in own if isinstance(value, type) for room in _rooms(value)]
    where = str(plugin.path or plugin.source.name)
    try:
        for room, table in found:
            _check_class(room, table)
            if name_of(table) in LISTS[room]:
                other = LISTS[room][name_of(table)]
                message = f"{table.__name__}: the {room} '{name_of(table)}' exists already, as {_home(other)}"
                raise ValueError(f"{message}; give it another kind")
            if name_of(table) in [name_of(each) for each in plugin.kinds if issubclass(each, LISTS[room].contract)]:
                raise ValueError(f"two classes have the kind '{name_of(table)}'; give one of them another")
            plugin.kinds.append(table)
        inner = (value for value in vars(plugin.module).values() if isinstance(value, types.ModuleType))
        for module in (plugin.module, *(value for value in inner if _within(value.__name__, name))):
            if callable(getattr(module, "applies", None)) and callable(getattr(module, "draw", None)):
                _check_picture(module)
                plugin.pictures.append(module)
        if not plugin.kinds and not plugin.pictures:
            raise ValueError(
                f"defines no {', '.join(LISTS)} and no picture; expected a class with a line like "
                'kind: Literal["my_device"] = "my_device", or NAME, applies and draw'
            )
    except ValueError as error:
        if plugin.source.text is not None:
            sys.modules.pop(name, None)
        raise _refusal(where, str(error)) from None
    for room, table in found:
        LISTS[room].add(table)
    _loaded[name] = plugin
    return plugin


def _within(module: Any, name: str) -> bool:
    return isinstance(module, str) and (module == name or module.startswith(f"{name}."))


def _rooms(table: type) -> list[str]:
    """The list that a class belongs into, if it says of what kind it is."""
    if not issubclass(table, Kind) or not isinstance(table.model_fields["kind"].default, str):
        return []
    return [room for room, kinds in LISTS.items() if issubclass(table, kinds.contract)]


def _check_class(room: str, table: type[Kind]) -> None:
    kind = name_of(table)
    if typing.get_args(table.model_fields["kind"].annotation) != (kind,) or not _WORD.fullmatch(kind):
        raise ValueError(
            f"{table.__name__}.kind: expected one word of small letters, digits and _, twice, like "
            'kind: Literal["my_device"] = "my_device"'
        )
    if inspect.isabstract(table):
        missing = ", ".join(sorted(table.__abstractmethods__))
        raise ValueError(f"{table.__name__} does not provide {missing}, which every {room} must")


def _check_picture(module: types.ModuleType) -> None:
    name = getattr(module, "NAME", None)
    if not isinstance(name, str) or not re.fullmatch(r"\w{1,60}", name):
        raise ValueError('has applies and draw, but no name; expected NAME = "my_picture"')
    if resources.files("mcdev").joinpath("figures", f"{name}.py").is_file():
        raise ValueError(f"the picture '{name}' exists already, in mcdev.figures.{name}; give it another NAME")
    for plugin in loaded():
        if name in [picture.NAME for picture in plugin.pictures]:
            raise ValueError(f"the picture '{name}' exists already, in {plugin.source.name}; give it another NAME")


def _home(table: type[Kind]) -> str:
    """Class and file, in words."""
    plugin = _loaded.get(table.__module__)
    return f"{table.__name__} of {plugin.source.name if plugin else table.__module__}"


def reason(error: BaseException, plugin: Plugin) -> str:
    """Line of the plugin's file and what went wrong there, in one line."""
    return _reason(error, str(plugin.module.__file__))


def _reason(error: BaseException, file: str) -> str:
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == file else None
    trace = error.__traceback__
    while trace is not None and not (isinstance(error, SyntaxError) and line):
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    said = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().split("\n")[0]
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"line {line}: {what}" if line else what


def _refusal(where: str, why: str) -> ConfigError:
    return ConfigError([Problem(where, None, why)], "plugin")


# -------------------------------------------------------------------------------------- into another process


def packed(whole: Any, plugins: Iterable[Plugin]) -> Any:
    """What ``__reduce_ex__`` gives for an object, with the plugins that whoever unpickles it has to load first."""
    sources = tuple(plugin.source for plugin in plugins)
    return (unpacked, (sources, pickle.dumps(whole))) if sources else whole


def unpacked(sources: Iterable[Source], content: bytes) -> Any:
    """The object. Raises ``ConfigError`` where a plugin is another here than where it was packed."""
    for source in sources:
        here = _load(source) if source.text is not None else _load_module(source.name)
        if here.source.sha256 != source.sha256:
            there = f"{source.sha256[:12]} where the work comes from, {here.source.sha256[:12]} here"
            raise _refusal(source.name, f"is installed in another version ({there}); install the same")
    make, arguments, state, *_ = pickle.loads(content)
    made = make(*arguments)
    made.__setstate__(state)
    return made

"""Results, chunks, cards and configurations in which something was changed: read, or refused in one line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.files.whole_file import ResultsError
from mcdev.machine.identity import Origin
from mcdev.measurements.contract import OK
from mcdev.results import safekeeping
from mcdev.results.tree import assemble
from mcdev.simulation.chunks import Chunk, layout
from mcdev.simulation.ensemble import NotEnoughMemory
from mcdev.simulation.gathering import empty
from mcdev.simulation.kept import Made
from mcdev.simulation.trial import Trial, trials
from mcdev.statistics.card import read_card, to_toml
from mcdev.statistics.card_of_run import make_card
from mcdev.statistics.draw import write_devices
from mcdev.statistics.published import compare, fit_records
from mcdev.statistics.summary import summarise
from mcdev.statistics.tables import long_table, to_csv

CONFIG: dict[str, Any] = {
    "name": "t",
    "device": {"preset": "wang2017_reduced", "particles": 2},
    "protocol": {"kind": "pulse_train", "amplitude": "3 V", "width": "0.02 s", "gap": "0.02 s", "count": 2}
    | {"samples_per_pulse": 4, "samples_per_gap": 2, "relaxation": "0.1 s", "relaxation_samples": 4},
    "measurements": {"g": {"kind": "pulse_conductance"}, "tau": {"kind": "relaxation_time"}},
    "ensemble": {"devices": 3, "cycles": 2},
    "sweep": {"axes": {"device.background_temperature": ["0.3 K", "0.4 K", "0.5 K"]}},
    "fits": {"ea": {"kind": "arrhenius", "measurement": "tau", "axis": "device.background_temperature"}},
    "output": {"reference": [{"measurement": "g", "entry": 2, "value": 0.25, "source": "Fig. 4b"}]},
}
"""Small, with a list, a number, a fit along an axis and a published number."""


def experiment() -> Experiment:
    return mcdev.build(CONFIG)


def filled(at: Experiment) -> Any:
    """A sweep point as if it had been computed: nothing is compiled here."""
    draw = np.random.default_rng(1)
    point = empty(Trial(at), 2)
    for arrays in (point.values, point.of_mean, point.parameters, point.mean, point.sem, point.trajectories):
        for array in arrays.values():
            array[...] = draw.lognormal(size=array.shape)
    for status in point.status.values():
        status[...] = OK
    point.intact[...] = True
    return point


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A results file."""
    whole = experiment()
    tree = assemble(whole, [filled(point) for _, point in whole.points()], {"started": "now"})
    return mcdev.write(tree, tmp_path_factory.mktemp("run")).read_bytes()


@pytest.fixture(scope="module")
def card(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("card") / "results.h5"
    path.write_bytes(content)
    return to_toml(make_card(mcdev.read(path)))


# -------------------------------------------------------------------------------------- ways to harm a file

HOSTILE = [
    "\x1b[31mred",
    "=cmd|' /C calc'!A0",
    "",
    "a" * 5000,
    "\u202egnp",
    "[bold]x[/]",
    "$x^{",
    "../x",
    "\udcff",
    "1 furlong",
]
ODD: list[Any] = [
    7,
    -1,
    1e308,
    float("nan"),
    b"\xff\xfe",
    np.arange(3),
    np.array(["a", "b"], dtype="S1"),
    np.bool_(True),
]


def places(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def pick(draw: np.random.Generator, items: list[Any]) -> Any:
    return items[int(draw.integers(len(items)))]


def arrays_of(file: h5py.File) -> list[str]:
    return [name for name in places(file) if isinstance(file[name], h5py.Dataset)]


def remove(file: h5py.File, draw: np.random.Generator) -> None:
    del file[pick(draw, places(file))]


def remove_attribute(file: h5py.File, draw: np.random.Generator) -> None:
    item = pick(draw, [file, *(file[name] for name in places(file))])
    if len(item.attrs):
        del item.attrs[pick(draw, list(item.attrs))]


def change_attribute(file: h5py.File, draw: np.random.Generator) -> None:
    item = pick(draw, [file, *(file[name] for name in places(file))])
    names = [name for name in item.attrs if name not in ("REFERENCE_LIST", "DIMENSION_LIST")]
    if names:
        value = pick(draw, [*HOSTILE[:-2], *ODD])
        with contextlib.suppress(UnicodeError):
            item.attrs[pick(draw, names)] = value


def replace(file: h5py.File, draw: np.random.Generator) -> None:
    name = pick(draw, places(file))
    del file[name]
    new = pick(
        draw, [np.arange(3.0), np.zeros((2, 2), "i4"), "text", b"\xff", np.zeros(0), np.zeros((3, 2, 2, 2)), None]
    )
    if new is None:
        file.create_group(name)
    else:
        file[name] = new


def rename(file: h5py.File, draw: np.random.Generator) -> None:
    name = pick(draw, places(file))
    file.move(name, f"{name}_{draw.integers(9)}")


def add(file: h5py.File, draw: np.random.Generator) -> None:
    groups = [file, *(file[name] for name in places(file) if isinstance(file[name], h5py.Group))]
    pick(draw, groups)[f"new{draw.integers(9)}"] = pick(draw, [np.arange(3.0), "text", np.int8(3)])


def change_values(file: h5py.File, draw: np.random.Generator) -> None:
    item = file[pick(draw, arrays_of(file))]
    if item.dtype.kind in "fiu" and item.size:
        values = item[()]
        flat = np.atleast_1d(values).reshape(-1)
        new = pick(
            draw, [0, 1, -1, 127] if item.dtype.kind != "f" else [np.nan, np.inf, -np.inf, 1e300, -1.0, 0.0, 1e-320]
        )
        with np.errstate(over="ignore"):
            flat[draw.integers(flat.size, size=3)] = np.asarray(new).astype(item.dtype)
        item[...] = flat.reshape(np.shape(values))
    elif item.dtype.kind == "O" and item.size and not item.attrs.get("path"):
        item[...] = pick(draw, HOSTILE[:4])


def change_configuration(file: h5py.File, draw: np.random.Generator) -> None:
    text = file["config/toml"][()].decode()
    cut, end = sorted(int(i) for i in draw.integers(len(text), size=2))
    new = pick(
        draw, [text[:cut], text[:cut] + text[end:], text.replace("3", "300000"), "= 1", "", text.replace("g", "h")]
    )
    file["config/toml"][()] = new


def link(file: h5py.File, draw: np.random.Generator) -> None:
    group = pick(draw, [file[name] for name in places(file) if isinstance(file[name], h5py.Group)])
    target = pick(draw, places(file))
    group["link"] = pick(
        draw, [h5py.SoftLink("/config"), h5py.ExternalLink("other.h5", "/x"), file[target], group, file["/"]]
    )


def declare(file: h5py.File, draw: np.random.Generator) -> None:
    size = int(10 ** draw.uniform(7, 17))
    file.create_dataset("response/huge", (size,), "f8", chunks=(2**10,), compression="gzip")


INSIDE: list[Callable[[h5py.File, np.random.Generator], None]] = [
    *(
        remove,
        remove_attribute,
        change_attribute,
        replace,
        rename,
        add,
        change_values,
        change_configuration,
        link,
        declare,
    ),
]


def harmed(content: bytes, path: Path, draw: np.random.Generator) -> str:
    """Write a changed file; what was done."""
    way = int(draw.integers(len(INSIDE) + 3))
    if way < len(INSIDE):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            INSIDE[way](file, draw)
        return INSIDE[way].__name__
    changed = bytearray(content)
    at = int(draw.integers(len(content)))
    if way == len(INSIDE):
        path.write_bytes(bytes(changed[:at]))
        return f"cut at {at}"
    if way == len(INSIDE) + 1:
        changed[at : at + 64] = bytes(64)
    else:
        for i in draw.integers(len(content), size=8):
            changed[i] ^= 1 << int(draw.integers(8))
    path.write_bytes(bytes(changed))
    return f"bytes changed near {at}"


@contextlib.contextmanager
def refused_in_one_line(what: str) -> Iterator[None]:
    """Reads well, or ends with one of mcdev's own errors, in one line without control characters."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arithmetic with extreme numbers, which are numbers all the same
            yield
    except (ResultsError, ConfigError, NotEnoughMemory) as error:
        text = str(error)
        assert len(text) < 25_000, what
        lines = text.split("\n") if isinstance(error, ConfigError) else [text]
        assert all(line.isprintable() for line in lines), (what, text)
    except Exception as error:  # whatever else it is, a user would see its traceback
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def use(path: Path) -> None:
    """What the commands read out of results, but for pictures."""
    tree = mcdev.read(path)
    records = summarise(tree)
    assert "\x1b" not in to_csv(records)
    long_table(tree, records)
    fit_records(tree)
    compare(tree)
    make_card(tree)


def try_results(content: bytes, path: Path, seeds: range) -> None:
    for seed in seeds:
        what = f"seed {seed}: " + harmed(content, path, np.random.default_rng(seed))
        with refused_in_one_line(what):
            use(path)


def try_chunks(folder: Path, seeds: range) -> None:
    """Chunks of a run that is gone on with: whole ones are known, the others computed again."""
    whole = experiment()
    folder.mkdir(exist_ok=True)
    with safekeeping.Folder(folder, whole) as keeper:
        keeper.begin(1)
        wanted = layout(trials(whole)[0], CHUNK)
        arrays: Any = {name: np.zeros(shape, kinds[0]) for name, (shape, kinds) in wanted.items()}
        keeper.put(CHUNK, Made(arrays, Origin.here()))
        (file,) = keeper.chunks.iterdir()
        content, harmless = file.read_bytes(), 0
        for seed in seeds:
            what = f"seed {seed}: " + harmed_chunk(content, keeper.chunks, np.random.default_rng(seed))
            with refused_in_one_line(what):
                keeper.go_on()
                if keeper.has(CHUNK):
                    found = keeper.get(CHUNK)
                    assert all(found[name][()].shape == shape for name, (shape, _) in wanted.items()), what
                    harmless += 1
                keeper.damaged()  # lets go of the files
        assert harmless < len(seeds)


CHUNK = Chunk(0, 0, 3, 0, 2)
IN_CHUNKS = [remove, change_attribute, replace, rename, add, change_values, link]


def harmed_chunk(content: bytes, folder: Path, draw: np.random.Generator) -> str:
    """Put a changed chunk in the place of the good one, its checksum in its name."""
    for old in folder.iterdir():
        old.rmdir() if old.is_dir() else old.unlink()
    path = folder / "new.h5"
    path.write_bytes(content)
    way = int(draw.integers(len(IN_CHUNKS) + 4))
    what = "bytes changed"
    if way < len(IN_CHUNKS):
        what = IN_CHUNKS[way].__name__
        with h5py.File(path, "r+") as file:
            IN_CHUNKS[way](file, draw)
    elif way == len(IN_CHUNKS):
        what = "not HDF5"
        path.write_bytes(pick(draw, [b"", b"PK", content[: len(content) // 2]]))
    elif way == len(IN_CHUNKS) + 1:
        path.unlink()
        path.mkdir()
        what = "a folder"
    else:
        changed = bytearray(content)
        for i in draw.integers(len(content), size=8):
            changed[i] ^= 1 << int(draw.integers(8))
        path.write_bytes(bytes(changed))
    checksum = "0" * 64 if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(folder / f"0-0-3-0-2.{checksum[:32]}.h5")
    return what


def try_cards(text: str, path: Path, seeds: range) -> None:
    for seed in seeds:
        draw = np.random.default_rng(seed)
        path.write_bytes(harmed_text(text, draw))
        with refused_in_one_line(f"seed {seed}"):
            write_devices(read_card(path), 2, 0, io.StringIO())


def harmed_text(text: str, draw: np.random.Generator) -> bytes:
    lines = text.split("\n")
    at = int(draw.integers(len(lines)))
    key = lines[at].partition(" = ")[0]
    values = ['"x"', "-1", "1e300", "nan", "[]", "{}", "true", "9" * 400, "9" * 5000, "[" * 300, '"\x1b[31m"']
    more = ["new = 1", "[new]", "a" + ".a" * 20_000 + " = 1", '"\\u001b[31m" = 1']
    ways: list[Callable[[], list[str]]] = [
        lambda: lines[:at],
        lambda: lines[:at] + lines[at + 1 :],
        lambda: lines[:at] + [lines[at]] * 2 + lines[at:],
        lambda: [*lines[:at], f"{key} = {pick(draw, values)}", *lines[at + 1 :]],
        lambda: [*lines[:at], pick(draw, more), *lines[at:]],
    ]
    changed = bytearray("\n".join(pick(draw, ways)()).encode("utf-8", "surrogateescape"))
    if draw.integers(4) == 0:
        changed[int(draw.integers(len(changed)))] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def test_changed_results(content: bytes, tmp_path: Path) -> None:
    try_results(content, tmp_path / "results.h5", range(20))


def test_changed_chunks(tmp_path: Path) -> None:
    try_chunks(tmp_path, range(90))


def test_changed_cards(card: str, tmp_path: Path) -> None:
    try_cards(card, tmp_path / "card.toml", range(90))


@pytest.mark.slow
def test_two_thousand_changes(content: bytes, card: str, tmp_path: Path) -> None:
    try_results(content, tmp_path / "results.h5", range(1000, 2000))
    try_chunks(tmp_path / "run", range(1000, 1500))
    try_cards(card, tmp_path / "card.toml", range(1000, 1500))


@pytest.mark.slow
def test_pictures_of_changed_numbers(content: bytes, tmp_path: Path) -> None:
    """What passes the check is drawn, too."""
    path = tmp_path / "results.h5"
    for seed in range(40):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            change_values(file, np.random.default_rng(seed))
        with refused_in_one_line(f"seed {seed}"):
            mcdev.draw(mcdev.read(path), tmp_path / "figures")

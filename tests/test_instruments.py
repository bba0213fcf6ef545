"""Instruments' files: each synthetic file of a format reads back to the numbers that it was made from."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdev.measured import Layout, read_recording, read_table
from mcdev.measured.columns import Quantity
from mcdev.measured.instruments import INSTRUMENTS, NOT_READ
from mcdev.measured.recording import sheet_of

pytestmark = pytest.mark.promise

DATA = Path(__file__).parent / "data" / "instruments"
CURVE: tuple[Quantity, ...] = ("time", "voltage", "current")
SPECTRUM: tuple[Quantity, ...] = ("frequency", "resistance", "reactance")

STEP = np.arange(8.0)
PLANTED: dict[str, np.ndarray] = {"time": 1e-3 * STEP, "voltage": 0.1 * STEP, "current": 2e-6 * STEP**2 + 1e-9}
FREQUENCY = 10.0 ** np.arange(5, -1, -1)
IMPEDANCE = 100 + 1000 / (1 + 2j * np.pi * FREQUENCY * 1e-4)
PLANTED |= {"frequency": FREQUENCY, "resistance": IMPEDANCE.real, "reactance": IMPEDANCE.imag}

SCOPE = {"columns": {"voltage": "CH1", "current": "CH2"}, "units": {"current": "mA"}}
FILES: dict[str, tuple[str, tuple[Quantity, ...], int, dict[str, Any]]] = {
    "arc_one.csv": ("arc_one", ("time", "current"), 1, {"interval": "1 ms", "specimen": "W3B7"}),
    "autolab.txt": ("zplot", SPECTRUM, 1, {}),
    "biologic.mpt": ("biologic", SPECTRUM, 1, {}),
    "chi.txt": ("chi", SPECTRUM, 1, {}),
    "easyexpert.csv": ("easyexpert", CURVE, 2, {}),
    "gamry.DTA": ("gamry", SPECTRUM, 1, {}),
    "gamry_in_time.DTA": ("gamry", CURVE, 2, {}),
    "keithley_4200.csv": ("keithley_4200", CURVE, 2, {}),
    "keysight_scope.csv": ("keysight_scope", CURVE, 1, {}),
    "parstat.txt": ("parstat", SPECTRUM, 1, {}),
    "rigol.csv": ("rigol", CURVE, 1, SCOPE),
    "rigol_old.csv": ("rigol", CURVE, 1, {"columns": {"voltage": "X(CH1)", "current": 3}, "units": {"current": "mA"}}),
    "tektronix.csv": ("tektronix", CURVE, 1, {}),
    "tektronix_tds.csv": ("tektronix", ("time", "voltage"), 1, {}),
    "versastudio.par": ("versastudio", SPECTRUM, 1, {}),
    "zplot.z": ("zplot", SPECTRUM, 1, {}),
}
"""File → its format, the quantities in it, its cycles, and what has to be said of it."""


def test_every_format_has_a_file() -> None:
    assert {kind for kind, *_ in FILES.values()} == set(INSTRUMENTS.names)
    assert set(FILES) == {path.name for path in DATA.iterdir()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_reads_back_to_the_numbers_it_was_made_from(name: str) -> None:
    kind, wanted, cycles, said = FILES[name]
    found = read_recording(DATA / name, wanted, Layout(**said))
    assert (found.format, len(found.cycles)) == (kind, cycles)
    for cycle in found.cycles:
        for quantity in wanted:
            np.testing.assert_allclose(found.values[quantity][cycle], PLANTED[quantity], rtol=1e-8, atol=1e-15)
    assert read_recording(DATA / name, wanted, Layout(format=kind, **said)).cycles == found.cycles, "and by name"


@pytest.mark.parametrize("name", FILES)
def test_a_format_recognises_its_own_files_only(name: str) -> None:
    text = (DATA / name).read_bytes().decode("utf-8-sig" if name != "gamry.DTA" and "mpt" not in name else "latin-1")
    others = []
    for kind in INSTRUMENTS.names:
        try:
            others += [kind] if INSTRUMENTS[kind]().recognises(text) else []
        except ValueError:
            continue
    assert others == [FILES[name][0]]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_off_is_refused_or_read_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    """Never another error, and never other numbers."""
    kind, wanted, _, said = FILES[name]
    whole = (DATA / name).read_bytes()
    for share in np.linspace(0.02, 0.98, 25):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        try:
            found = read_recording(tmp_path / name, wanted, Layout(format=kind, **said))
        except ValueError:
            continue
        for cycle in found.cycles:
            rows = cycle.stop - cycle.start
            for quantity in wanted:  # the last number may have lost digits
                own, planted = found.values[quantity][cycle][: rows - 1], PLANTED[quantity][: rows - 1]
                np.testing.assert_allclose(own, planted, rtol=1e-8, atol=1e-15)


def test_a_scope_s_channels_are_asked_for_by_name() -> None:
    with pytest.raises(ValueError, match=r"'CH1', is not understood|'CH1', 'CH2'|no column for voltage") as caught:
        read_recording(DATA / "rigol.csv", CURVE, Layout())
    assert 'add columns = { voltage = "…" }' in str(caught.value)
    shunt = Layout(columns={"voltage": "CH1", "current": "CH2"}, units={"current": "-0.1 mA"})
    found = read_recording(DATA / "rigol.csv", CURVE, shunt)
    np.testing.assert_allclose(found.values["current"], -0.1 * PLANTED["current"], rtol=1e-8)


def test_a_file_of_several_devices_or_cycles_asks_which(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'holds 2 devices, W3B7, W4B7; say which by specimen = "…"'):
        read_recording(DATA / "arc_one.csv", ("current",), Layout())
    with pytest.raises(ValueError, match='interval = "…", the time from row to row'):
        read_recording(DATA / "arc_one.csv", ("time", "current"), Layout(specimen="W3B7"))
    with pytest.raises(ValueError, match="another of 2 cycles begins; say which is meant by cycle = 1"):
        read_table(DATA / "easyexpert.csv", CURVE, Layout(), 5, 100)
    second = read_table(DATA / "easyexpert.csv", CURVE, Layout(cycle=2), 5, 100)
    np.testing.assert_allclose(second.values["current"], PLANTED["current"], rtol=1e-8)
    assert second.lines[0] > 20
    with pytest.raises(ValueError, match="cycle is 3; the file has 2"):
        read_table(DATA / "easyexpert.csv", CURVE, Layout(cycle=3), 5, 100)


def test_formats_that_are_not_read_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0,0\n1,1\n")
    for name in NOT_READ:
        with pytest.raises(ValueError, match=r'depends on the script that ran.*; write a table .* format = "text"'):
            sheet_of(tmp_path / "x.csv", Layout(format=name))
    with pytest.raises(ValueError, match="expected one of text, arc_one"):
        sheet_of(tmp_path / "x.csv", Layout(format="tektronics"))


# ------------------------------------------------------------------------------- cycles


def rows_of(*columns: Any) -> str:
    return "\n".join(",".join(repr(float(x)) for x in row) for row in zip(*columns, strict=True)) + "\n"


def test_a_time_that_restarts_is_a_cycle(tmp_path: Path) -> None:
    time = np.tile(0.1 * np.arange(5), 3) + 0.3
    (tmp_path / "x.csv").write_text("time (s),voltage (V),current (A)\n" + rows_of(time, time, time))
    found = read_recording(tmp_path / "x.csv", CURVE, Layout())
    assert found.cycles == [slice(0, 5), slice(5, 10), slice(10, 15)]
    time[7] = 0.2  # within a cycle it goes back
    (tmp_path / "x.csv").write_text("time (s),voltage (V),current (A)\n" + rows_of(time, time, time))
    with pytest.raises(ValueError, match=r"line 9: time 0\.2 s does not follow 0\.4 s; sort the rows"):
        read_recording(tmp_path / "x.csv", CURVE, Layout())


def test_a_column_counts_cycles(tmp_path: Path) -> None:
    time, number = np.arange(6.0), np.repeat([4.0, 5.0], 3)
    text = "Repeat,time (s),voltage (V),current (A)\n" + rows_of(number, time, time, time)
    (tmp_path / "x.csv").write_text(text)
    assert read_recording(tmp_path / "x.csv", CURVE, Layout()).cycles == [slice(0, 3), slice(3, 6)]
    (tmp_path / "x.csv").write_text(text.replace("Repeat", "Sweep"))
    given: dict[str, Any] = {"columns": {"cycle": "Sweep", "time": 2, "voltage": 3, "current": 4}}
    assert read_recording(tmp_path / "x.csv", CURVE, Layout(**given)).cycles == [slice(0, 3), slice(3, 6)]


# ------------------------------------------------------------------------------- ceilings and noise


def sweep(limit: float, rows: int = 41) -> tuple[np.ndarray, np.ndarray]:
    voltage = np.concatenate([np.linspace(0, 2, rows), np.linspace(2, 0, rows)])
    return voltage, np.minimum(1e-4 * voltage**3, limit)


def test_a_compliance_is_found_as_a_plateau_and_a_resistor_has_none(tmp_path: Path) -> None:
    voltage, current = sweep(3e-4)
    time = 0.01 * np.arange(voltage.size)
    head = "time (s),voltage (V),current (A)\n"
    (tmp_path / "x.csv").write_text(head + rows_of(time, voltage, current))
    (found,) = read_recording(tmp_path / "x.csv", CURVE, Layout()).ceilings
    assert found.level == pytest.approx(3e-4)
    np.testing.assert_array_equal(found.rows, current == 3e-4)
    assert "the current stays while the voltage goes from" in found.why
    (tmp_path / "x.csv").write_text(head + rows_of(time, voltage, -current))
    (found,) = read_recording(tmp_path / "x.csv", CURVE, Layout()).ceilings
    assert found.level == pytest.approx(-3e-4)
    for free in (1e-4 * voltage**3, 1e-5 * voltage, np.full(voltage.size, 1e-6) * (voltage > 3)):
        (tmp_path / "x.csv").write_text(head + rows_of(time, voltage, free))
        assert read_recording(tmp_path / "x.csv", CURVE, Layout()).ceilings == []
    (tmp_path / "x.csv").write_text(head + rows_of(time, voltage, current))
    assert read_recording(tmp_path / "x.csv", CURVE, Layout(ceiling="none")).ceilings == []
    (given,) = read_recording(tmp_path / "x.csv", CURVE, Layout(ceiling="0.2 mA")).ceilings
    np.testing.assert_array_equal(given.rows, current >= 2e-4 * 0.998)
    with pytest.raises(ValueError, match=r"ceiling is '1 V'; expected a current"):
        read_recording(tmp_path / "x.csv", CURVE, Layout(ceiling="1 V"))


def test_an_amplifier_that_clips_is_told_from_a_steady_current() -> None:
    from mcdev.measured.ceiling import find

    rng = np.random.default_rng(1)
    voltage = np.ones(400)
    noisy = 1e-6 * (1 - np.exp(-np.arange(400) / 80)) * (1 + 0.01 * rng.standard_normal(400))
    assert find(voltage, noisy, [slice(0, 400)]) == []
    (found,) = find(voltage, np.minimum(noisy, 8e-7), [slice(0, 400)])
    assert found.level == pytest.approx(8e-7)
    steady = 1e-6 * (1 - np.exp(-np.arange(400) / 2))  # a computed course without noise
    assert find(voltage, steady, [slice(0, 400)]) == []


def test_the_noise_is_a_floor_and_a_share() -> None:
    from mcdev.measured.noise import estimated

    rng = np.random.default_rng(2)
    course = 1e-6 * np.exp(-np.arange(20_000) / 4000)
    sd = 1e-9 + 0.02 * course
    found = estimated(course + sd * rng.standard_normal(course.size), [slice(0, course.size)])
    assert found is not None
    # ten parts of 2000 rows: a median of |z| has a standard error of 1.4 %; the lowest part has a current of 8 nA
    np.testing.assert_allclose(found.floor, 1e-9 + 0.02 * 8.6e-9, rtol=0.1)
    np.testing.assert_allclose(found.share, 0.02, rtol=0.1)
    assert estimated(course, [slice(0, 10)]) is None


# ------------------------------------------------------------------------------- libraries beside


def workbook(rows: list[list[Any]], second: bool = False) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Data"
    for row in rows:
        book.active.append(row)
    if second:
        book.create_sheet("Settings").append(["Test Name", "planted"])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_is_read_as_its_table(tmp_path: Path) -> None:
    numbers = list(zip(*(PLANTED[q].tolist() for q in CURVE), strict=True))
    head = ["time (s)", "voltage (V)", "current (A)"]
    (tmp_path / "x.xlsx").write_bytes(workbook([head, *map(list, numbers)]))
    found = read_table(tmp_path / "x.xlsx", CURVE, Layout(), 5, 100)
    for quantity in CURVE:
        np.testing.assert_allclose(found.values[quantity], PLANTED[quantity], rtol=1e-15)
    assert "is a workbook" in found.said
    (tmp_path / "k.xlsx").write_bytes(workbook([["Time", "AnodeV", "AnodeI"], *map(list, numbers)], second=True))
    found = read_table(tmp_path / "k.xlsx", CURVE, Layout(), 5, 100)
    assert found.format == "keithley_4200"
    np.testing.assert_allclose(found.values["current"], PLANTED["current"], rtol=1e-15)
    with pytest.raises(ValueError, match="has no sheet 'data 2'; the workbook has 'Data', 'Settings'"):
        read_table(tmp_path / "k.xlsx", CURVE, Layout(sheet="data 2"), 5, 100)


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcdev.measured.workbook._MOST", 2**20)
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for part in range(5):
            archive.writestr(f"xl/{part}.xml", bytes(2**20))
    with pytest.raises(ValueError, match="unpacks to 5 MiB; expected at most 1: thin it out"):
        read_table(tmp_path / "x.xlsx", CURVE, Layout(), 5, 100)


def test_what_needs_a_library_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    monkeypatch.setitem(sys.modules, "xlrd", None)
    monkeypatch.setitem(sys.modules, "galvani.BioLogic", None)
    (tmp_path / "x.xls").write_bytes(OLD)
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04" + bytes(10))
    (tmp_path / "x.mpr").write_bytes(b"BIO-LOGIC MODULAR FILE\x1a" + bytes(10))
    for name in ("x.xlsx", "x.xls", "x.mpr"):
        with pytest.raises(ValueError, match=re.escape("pip install 'mcdev[instruments]'")):
            read_table(tmp_path / name, CURVE, Layout(), 5, 100)


OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)
"""How a workbook of the old kind begins."""


def test_a_workbook_of_the_old_kind_is_read_through_xlrd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for xlrd gives the cells that it would: what is checked is what is made of them."""
    columns = [PLANTED[q].tolist() for q in ("time", "current", "voltage")]
    rows = [["Time", "AnodeI", "AnodeV"], *map(list, zip(*columns, strict=True))]
    data = types.SimpleNamespace(nrows=len(rows), row_values=lambda i, end_colx: [*rows[i], ""])
    book = types.SimpleNamespace(sheet_names=lambda: ["Data", "Calc", "Settings"], sheet_by_name={"Data": data}.get)
    stand_in = types.ModuleType("xlrd")
    vars(stand_in)["open_workbook"] = lambda file_contents: book
    monkeypatch.setitem(sys.modules, "xlrd", stand_in)
    (tmp_path / "x.xls").write_bytes(OLD)
    found = read_table(tmp_path / "x.xls", CURVE, Layout(), 5, 100)
    assert found.format == "keithley_4200"
    for quantity in CURVE:
        np.testing.assert_array_equal(found.values[quantity], PLANTED[quantity])


def test_a_binary_file_of_eclab_is_read_through_galvani(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for galvani gives the array that it would: what is checked is what is made of it."""
    table = np.zeros(6, [("freq/Hz", float), ("Re(Z)/Ohm", float), ("-Im(Z)/Ohm", float)])
    table["freq/Hz"], table["Re(Z)/Ohm"], table["-Im(Z)/Ohm"] = FREQUENCY, IMPEDANCE.real, -IMPEDANCE.imag
    stand_in = types.ModuleType("galvani.BioLogic")
    vars(stand_in)["MPRfile"] = lambda stream: types.SimpleNamespace(data=table)
    monkeypatch.setitem(sys.modules, "galvani", types.ModuleType("galvani"))
    monkeypatch.setitem(sys.modules, "galvani.BioLogic", stand_in)
    (tmp_path / "x.mpr").write_bytes(b"BIO-LOGIC MODULAR FILE\x1a" + bytes(10))
    found = read_recording(tmp_path / "x.mpr", SPECTRUM, Layout())
    for quantity in SPECTRUM:
        np.testing.assert_allclose(found.values[quantity], PLANTED[quantity], rtol=1e-15)


# ------------------------------------------------------------------------------- any dialect

MARKS = {"point": ",;\t ", "comma": ";\t "}


@st.composite
def dialects(draw: st.DrawFn) -> tuple[bytes, dict[str, Any], dict[str, list[float]]]:
    """A file's bytes in some dialect, what has to be said of it, and the numbers in it."""
    decimal = draw(st.sampled_from(["point", "comma"]))
    delimiter = draw(st.sampled_from(MARKS[decimal]))
    exponent = draw(st.sampled_from(["e", "E", "D"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    trailing = delimiter if delimiter != " " and draw(st.booleans()) else ""
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]))
    micro = draw(st.sampled_from(["u", "µ"]))
    rows = draw(st.integers(4, 12))
    numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: float(f"{x:.6g}"))
    values = {"time": [0.5 * k for k in range(rows)]}
    values |= {q: draw(st.lists(numbers, min_size=rows, max_size=rows)) for q in ("voltage", "current")}
    order = draw(st.permutations(["time", "voltage", "current"]))
    names = {"time": "Time/ms", "voltage": "Ewe/mV", "current": f"I/{micro}A"}
    said: dict[str, Any] = {"delimiter": "space"} if delimiter == " " else {}
    if decimal == "comma":
        said["decimal"] = "comma"

    def written(x: float) -> str:
        return f"{x:.6e}".replace("e", exponent).replace(".", "," if decimal == "comma" else ".")

    lines = []
    if draw(st.booleans()):
        lines += ["measured on a Tuesday", "with care"]
    lines.append(delimiter.join(names[q] for q in order) + trailing)
    for k in range(rows):
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from(["", "# a comment"])))
        lines.append(delimiter.join(written(values[q][k]) for q in order) + trailing)
    found = {"time": 1e-3, "voltage": 1e-3, "current": 1e-6}
    return end.join([*lines, ""]).encode(encoding), said, {q: [x * found[q] for x in values[q]] for q in CURVE}


@settings(max_examples=80, deadline=None)
@given(dialect=dialects())
def test_any_dialect_reads_back_to_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, dialect: tuple[bytes, dict[str, Any], dict[str, list[float]]]
) -> None:
    content, said, values = dialect
    path = tmp_path_factory.getbasetemp() / "dialect.txt"
    path.write_bytes(content)
    found = read_table(path, CURVE, Layout(**said), 2, 1000)
    for quantity in CURVE:
        np.testing.assert_allclose(found.values[quantity], values[quantity], rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300), name=st.sampled_from(sorted(FILES)), at=st.integers(0, 1500))
def test_bytes_that_are_flipped_in_are_never_another_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, at: int
) -> None:
    kind, wanted, _, said = FILES[name]
    whole = (DATA / name).read_bytes()
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(whole[:at] + content + whole[at + len(content) :])
    for layout in (Layout(format=kind, **said), Layout()):
        with contextlib.suppress(ValueError):
            read_recording(path, wanted, layout)

"""Workbooks, through the libraries openpyxl (.xlsx) and xlrd (.xls): a sheet's cells as the text of a table between
tabs."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterable, Sequence

from mcdev.measured.columns import Layout

_NEW = b"PK\x03\x04"  # a zip archive
_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE file
_MOST = 256 * 2**20
"""Bytes that a workbook may unpack to."""
_ROWS, _COLUMNS = 400_000, 1000


def is_workbook(data: bytes) -> bool:
    """Whether these are the bytes of a workbook."""
    return data.startswith((_NEW, _OLD))


def text_of(data: bytes, layout: Layout) -> str:
    """One sheet's rows, each a line. Raises ``ValueError`` where the library is not there, or the workbook is damaged,
    too large, or has several sheets and none is chosen."""
    return _of_old(data, layout) if data.startswith(_OLD) else _of_new(data, layout)


def _of_new(data: bytes, layout: Layout) -> str:
    try:
        import openpyxl
    except ImportError:
        raise _missing("(.xlsx)", "openpyxl") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True) if unpacked <= _MOST else None
    except Exception as error:  # zipfile and openpyxl raise many kinds for a damaged file
        raise _damaged(error) from None
    if book is None:
        raise ValueError(f"unpacks to {unpacked / 2**20:.0f} MiB; expected at most {_MOST // 2**20}: thin it out")
    with contextlib.closing(book):
        sheet = book[_chosen([str(title) for title in book.sheetnames], layout)]
        return _lines(sheet.iter_rows(values_only=True, max_col=_COLUMNS))


def _of_old(data: bytes, layout: Layout) -> str:
    try:
        import xlrd
    except ImportError:
        raise _missing("of the old kind (.xls)", "xlrd") from None
    try:
        book = xlrd.open_workbook(file_contents=data)
    except Exception as error:  # xlrd raises many kinds, too
        raise _damaged(error) from None
    sheet = book.sheet_by_name(_chosen([str(name) for name in book.sheet_names()], layout))
    return _lines(sheet.row_values(i, end_colx=_COLUMNS) for i in range(sheet.nrows))


def _missing(kind: str, library: str) -> ValueError:
    return ValueError(
        f"is a workbook {kind}, which the library {library} reads: pip install 'mcdev[instruments]'; or save it as "
        "CSV UTF-8"
    )


def _damaged(error: Exception) -> ValueError:
    return ValueError(f"is a workbook that cannot be read ({error}); save it anew, or as CSV UTF-8")


def _lines(rows: Iterable[Sequence[object]]) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        if number > _ROWS:
            raise ValueError(f"has more than {_ROWS} rows; thin it out")
        lines.append("\t".join(_written(value) for value in row))
    return "\n".join(lines)


def _chosen(names: list[str], layout: Layout) -> str:
    listed = ", ".join(repr(name) for name in names)[:300]
    if isinstance(layout.sheet, int) and 1 <= layout.sheet <= len(names):
        return names[layout.sheet - 1]
    if isinstance(layout.sheet, str) and layout.sheet in names:
        return layout.sheet
    if layout.sheet is not None:
        raise ValueError(f"has no sheet {layout.sheet!r}; the workbook has {listed}")
    if len(names) > 1:
        data = [name for name in names if name.lower() == "data"]  # as Keithley 4200 calls it
        if len(data) != 1:
            raise ValueError(f'has the sheets {listed}; say which by sheet = "…"')
        return data[0]
    return names[0]


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    text = " ".join(str(value).split())
    return '"' + text.replace('"', '""') + '"' if '"' in text else text

"""Workbooks (.xlsx), through the library openpyxl: a sheet's cells as the text of a table between tabs."""

from __future__ import annotations

import contextlib
import io
import zipfile

from mcdev.measured.columns import Layout

_MOST = 256 * 2**20
"""Bytes that a workbook may unpack to."""
_ROWS, _COLUMNS = 400_000, 1000


def text_of(data: bytes, layout: Layout) -> str:
    """One sheet's rows, each a line. Raises ``ValueError`` where openpyxl is not there, or the workbook is damaged, too
    large, or has several sheets and none is chosen."""
    try:
        import openpyxl
    except ImportError:
        raise ValueError(
            "is a workbook (.xlsx), which the library openpyxl reads: pip install 'mcdev[instruments]'; or save it as "
            "CSV UTF-8"
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _MOST:
            raise ValueError(f"unpacks to {unpacked / 2**20:.0f} MiB; expected at most {_MOST // 2**20}: thin it out")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except ValueError:
        raise
    except Exception as error:  # zipfile and openpyxl raise many kinds for a damaged file
        raise ValueError(f"is a workbook that cannot be read ({error}); save it anew, or as CSV UTF-8") from None
    with contextlib.closing(book):
        name = _chosen([str(title) for title in book.sheetnames], layout)
        lines = []
        for number, row in enumerate(book[name].iter_rows(values_only=True, max_col=_COLUMNS), start=1):
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

"""The file of a report: all that it needs stands in it, and nothing in it can run or be fetched but mcdev's own script.

The policy of the page (Content-Security-Policy) allows two scripts by their SHA-256 and no request at all, so that a
name in somebody else's file could do nothing even if it were not escaped.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from mcdev.files.html import escaped
from mcdev.reports.contents import Block, Contents, Curve, Pairs, Panel

_LONGEST = 120
"""Letters of a text in a picture."""


def page(title: str, about: str, contents: Contents) -> str:
    """The whole file."""
    scripts = [_own("plotly-cartesian.min.js"), _own("page.js")]
    # Of what begins with a byte-order mark or has other ends of lines the browser would take another hash.
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    blocks = "".join(map(_block, contents.blocks))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<link rel="icon" href="data:,">
<style>{_own("page.css")}</style>
</head>
<body>
<header><h1>{escaped(title)}</h1><p>{escaped(about, 4000)}</p></header>
<main>
<nav aria-label="choices"></nav>
<article><div id="panels"></div>{blocks}</article>
</main>
<script type="application/json" id="data">{_json(contents)}</script>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body>
</html>
"""


@functools.cache
def _own(name: str) -> str:
    return files("mcdev.reports").joinpath(name).read_text(encoding="utf-8")


def _block(block: Block) -> str:
    of = escaped(json.dumps(dict(block.of)), 2000)
    unfolded = " open" if block.unfolded else ""
    return (
        f'<details class="block" data-of="{of}"{unfolded}><summary>{escaped(block.title)}</summary>'
        f'<div class="scroll">{block.body}</div></details>'
    )


def _json(contents: Contents) -> str:
    """What `page.js` reads, in which no letter could end the element that holds it."""
    data = {
        "choices": [
            {
                "name": choice.name,
                "title": choice.title,
                "options": list(choice.options),
                "escaped": list(map(_text, choice.options)),
                "begin": sorted(choice.begin),
                "several": choice.several,
                "of": dict(choice.of),
            }
            for choice in contents.choices
        ],
        "panels": [_pairs(each) if isinstance(each, Pairs) else _panel(each) for each in contents.panels],
    }
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(text: str) -> str:
    """A text in a picture: plotly takes tags in it for marks of style and for links."""
    return escaped(text, _LONGEST)


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "x": _text(panel.x),
        "y": _text(panel.y),
        "curves": list(map(_curve, panel.curves)),
        "log_x": panel.log_x,
        "log_y": panel.log_y,
        "legend": _text(panel.legend),
        "note": panel.note,
        "of": dict(panel.of),
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "x": _packed(curve.x, exactly=True),
        "y": _packed(curve.y),
        "look": curve.look,
        "name": _text(curve.name),
        "colour": curve.colour,
        "of": dict(curve.of),
        "texts": list(map(_text, curve.texts)),
        "error": None if curve.error is None else _packed(curve.error),
        "across": curve.across,
        "key": curve.key,
    }


def _pairs(panel: Pairs) -> dict[str, Any]:
    return {
        "title": panel.title,
        "columns": [
            {"label": _text(c.label), "plain": c.label, "values": _packed(c.values), "positive": c.positive}
            for c in panel.columns
        ],
        "group": _packed(panel.group),
        "colours": list(panel.colours),
        "texts": list(map(_text, panel.texts)),
        "by": panel.by,
        "legend": _text(panel.legend),
        "begin": list(panel.begin),
        "note": panel.note,
        "of": dict(panel.of),
    }


def _packed(values: np.ndarray | Sequence[str], exactly: bool = False) -> Any:
    """Texts as they are, numbers as bytes: of 32 bits each, or ``exactly`` of 64, as times long after the first are."""
    if not isinstance(values, np.ndarray):
        return list(map(_text, values))
    letter, kind = ("d", "<f8") if exactly else ("f", "<f4")
    return {letter: base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()}

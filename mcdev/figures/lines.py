"""Text in lines of so many letters. A formula counts as many as are drawn, and is not broken."""

from __future__ import annotations

import re
import textwrap

_FORMULA = re.compile(r"\$[^$]*\$")
_TYPE = re.compile(r"\\(?:mathrm|mathit|mathbf|text)\b")
_SYMBOL = re.compile(r"\\[A-Za-z]+")
_UNSEEN = re.compile(r"\\[^A-Za-z]|[${}_^\s]")


def letters(text: str) -> int:
    """How many letters are drawn, about: of a formula without its marks, a command for a symbol counting as one."""
    return len(_FORMULA.sub(lambda found: "x" * _drawn(found[0]), text))


def in_lines(text: str, width: int) -> str:
    """The same text with no line longer than ``width`` letters, but where a word is. Its own lines stay apart."""
    unused = (character for character in map(chr, range(0xE000, 0xF900)) if character not in text)  # of no language
    formulas: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        formulas[character := next(unused)] = found[0]
        return character * max(_drawn(found[0]), 1)

    plain = _FORMULA.sub(stand_in, text)
    folded = "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in plain.splitlines()
    )
    for character, formula in formulas.items():
        folded = re.sub(f"{character}+", formula.replace("\\", r"\\"), folded)
    return folded


def _drawn(formula: str) -> int:
    return len(_UNSEEN.sub("", _SYMBOL.sub("x", _TYPE.sub("", formula))))

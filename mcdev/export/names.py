"""What may stand in a netlist: names of devices, numbers, and comments that stay comments."""

from __future__ import annotations

import re
import unicodedata

from mcdev.export.refusal import refused

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_ALLOWED = "a letter, then up to 59 letters, digits and underscores, and no keyword of SPICE or Verilog-A"
# Words that one of the two languages reads as its own, in the places where a model's name stands (Verilog-AMS Language
# Reference Manual 2.4, annex B, those that a device might be called; ngspice manual, chapters 2 and 5).
_WORDS = (
    "abs above ac_stim access acos aliasparam always analog analysis and asin assert assign atan begin branch buf case "
    "cell config connect cos cosh cross ddt ddx default delay disable discipline domain edge electrical else end "
    "endcase enddiscipline endfunction endmodule endnature endparamset exclude exp final_step floor flow flicker_noise "
    "for forever fork from function generate genvar ground hypot idt idtmod if include inf initial initial_step inout "
    "input integer join laplace limexp ln log max min module nand nature net noise_table nor not or output parameter "
    "params paramset potential pow primitive pulse real reg release repeat resistor scalar signed sin sinh slew sqrt "
    "string supply0 supply1 table tan tanh task temper temperature time timer tran transition tri units unsigned use "
    "vector voltage wait wand while white_noise wire wor xnor xor zi_nd"
)
_KEYWORDS = frozenset(_WORDS.split())
_REPLACED = {"µ": "u", "Ω": "ohm", "→": "->", "≥": ">=", "≤": "<=", "×": "x", "·": " ", "–": "-"}


def checked_name(name: str, key: str) -> str:
    """The name of a subcircuit or module. Raises ``ConfigError`` for one that would break a netlist."""
    if _NAME.fullmatch(name) and name.lower() not in _KEYWORDS:
        return name
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:50]
    if not re.match(r"[A-Za-z]", plain) or plain.lower() in _KEYWORDS:
        plain = f"device_{plain.strip('_')}".rstrip("_")
    message = f"would break a netlist; expected {_ALLOWED}: write --name {plain}"
    raise refused(key, name, message)


def number(value: float) -> str:
    """A finite number as both languages read it, to the last bit."""
    return repr(float(value))


def comment(text: str) -> list[str]:
    """Text as lines of at most 110 plain characters: nothing in it can end a comment or start a directive."""
    lines = []
    for raw in text.splitlines() or [""]:
        plain = "".join(_REPLACED.get(c) or _greek(c) for c in raw)
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        plain = "".join(c for c in plain if c.isprintable() and c not in "`\\")
        while len(plain) > 110:
            cut = plain.rfind(" ", 40, 110)
            cut = 110 if cut < 0 else cut
            lines.append(plain[:cut].rstrip())
            plain = "    " + plain[cut:].lstrip()
        lines.append(plain.rstrip())
    return lines


def _greek(letter: str) -> str:
    """σ as sigma; anything else as it is."""
    family, _, name = unicodedata.name(letter, "").partition(" SMALL LETTER ")
    return name.split(" ")[0].lower() if family == "GREEK" else letter

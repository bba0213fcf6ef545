"""What may stand in a netlist: names of devices, numbers, and comments that stay comments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from mcdev.export.refusal import refused

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_ALLOWED = "a letter, then up to 59 letters, digits and underscores"
# Words that a language reads as its own where a model's name stands, in any case: ngspice's by trial of these and the
# words of its manual; Verilog-AMS Language Reference Manual 2.4, annex B, the disciplines of its annex D and the
# primitives of its annex E.
_VERILOG_A = (
    "above abs absdelay absdelta abstol ac_stim access acos acosh aliasparam always analog analysis and asin "
    "asinh assert assign atan atan2 atanh automatic begin branch buf bufif0 bufif1 case casex casez ceil cell "
    "cmos config connect connectmodule connectrules continuous cos cosh cross ddt ddt_nature ddx deassign "
    "default defparam delay design disable discipline discrete domain driver_update edge else end endcase "
    "endconfig endconnectrules enddiscipline endfunction endgenerate endmodule endnature endparamset "
    "endprimitive endspecify endtable endtask event exclude exp final_step flicker_noise floor flow for force "
    "forever fork from function generate genvar ground highz0 highz1 hypot idt idt_nature idtmod if ifnone "
    "incdir include inf initial initial_step inout input instance integer join laplace_nd laplace_np "
    "laplace_zd laplace_zp large last_crossing liblist library limexp ln localparam log macromodule max medium "
    "merged min module nand nature negedge net_resolution nmos noise_table noise_table_log nor "
    "noshowcancelled not notif0 notif1 or output parameter paramset pmos posedge potential pow primitive pull0 "
    "pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat "
    "resolveto rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed sin sinh slew small specify "
    "specparam split sqrt string strong0 strong1 supply0 supply1 table tan tanh task time timer tran tranif0 "
    "tranif1 transition tri tri0 tri1 triand trior trireg units unsigned use uwire vectored wait wand weak0 "
    "weak1 while white_noise wire wor wreal xnor xor zi_nd zi_np zi_zd zi_zp "
    "current ddiscrete electrical kinematic kinematic_v logic magnetic rotational rotational_omega thermal "
    "voltage "
    "bjt capacitor diode iexp inductor ipulse ipwl isine jfet mesfet mosfet resistor tline vccs vcvs vexp "
    "vpulse vpwl vsine"
)
_SPICE_FUNCTIONS = (
    "abs acos acosh agauss arctan asin asinh atan atanh aunif ceil cos cosh exp floor gauss int limit ln log log10 max "
    "min nint pow pwr sgn sin sinh sqr sqrt tan tanh temper ternary_fcn time unif v"
)
OWN_WORDS = {"spice": frozenset({"gnd", "temper"}), "verilog-a": frozenset(_VERILOG_A.split())}
LANGUAGES = tuple(OWN_WORDS)
_REPLACED = {
    "µ": "u",
    "Ω": "ohm",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "×": "x",
    "·": " ",
    "–": "-",
    "±": "+/-",
    "∞": "infinity",
    "½": "1/2",
}


def checked_name(name: str, key: str, language: str, taken: Iterable[str] = ()) -> str:
    """The name of a subcircuit or module. Raises ``ConfigError`` for one that would break a netlist of this language:
    its grammar, its own words, and what else is ``taken`` there."""
    own = OWN_WORDS[language] | {word.lower() for word in taken}
    if _NAME.fullmatch(name) and name.lower() not in own:
        return name
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:50]
    if not re.match(r"[A-Za-z]", plain) or plain.lower() in own:
        plain = f"device_{plain.strip('_')}".rstrip("_")
    what = "word of SPICE or of the model's own" if language == "spice" else "keyword of Verilog-A"
    message = f"would break a netlist; expected {_ALLOWED}, and no {what}: write --name {plain}"
    raise refused(key, name, message)


def check_words(words: Iterable[str], language: str, taken: Iterable[str]) -> None:
    """Refuses parameters and states of a family that this language, or the model itself, reads as something else."""
    found: set[str] = {*taken, *(_SPICE_FUNCTIONS.split() if language == "spice" else OWN_WORDS[language])}
    for word in words:
        if word.lower() in found or not _NAME.fullmatch(word):
            message = (
                f"is a word of {language}, or of the model's own: call the parameter or state otherwise in its family"
            )
            raise refused(word, None, message)
        found.add(word.lower())


def fresh(prefix: str, words: Iterable[str]) -> str:
    """The prefix, or so many of it that none of the words is that and a number."""
    words = list(words)
    while any(re.fullmatch(rf"{prefix}\d+", word.lower()) for word in words):
        prefix += prefix[0]
    return prefix


def number(value: float) -> str:
    """A finite number as both languages read it, to the last bit."""
    return repr(float(value))


def comment(text: str) -> list[str]:
    """Text as lines of at most 110 plain characters: nothing in it can end a comment or start a directive."""
    lines = []
    for raw in text.splitlines() or [""]:
        plain = "".join(_REPLACED.get(c) or _raised(c) + _greek(c) for c in raw)
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        plain = "".join(c for c in plain if c.isprintable() and c not in "`\\")
        while len(plain) > 110:
            cut = plain.rfind(" ", 40, 110)
            cut = 110 if cut < 0 else cut
            lines.append(plain[:cut].rstrip())
            plain = "    " + plain[cut:].lstrip()
        lines.append(plain.rstrip())
    return lines


def _raised(letter: str) -> str:
    """The mark before a superscript or a subscript."""
    kind = unicodedata.decomposition(letter).split(" ")[0]
    return {"<super>": "^", "<sub>": "_"}.get(kind, "")


def _greek(letter: str) -> str:
    """σ as sigma; anything else as it is."""
    family, _, name = unicodedata.name(letter, "").partition(" SMALL LETTER ")
    return name.split(" ")[0].lower() if family == "GREEK" else letter

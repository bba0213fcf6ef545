"""Folded text: every word is there, no formula is broken, and no line is longer than it may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcdev.figures.lines import in_lines, letters

WORDS = st.sampled_from(
    ["amplitude", "\ue000", r"$V_\mathrm{th}$", r"($w_p / k_B$)", "0.45,", "per-device", r"$\tau_\mathrm{d}$", "a"]
)


def test_a_formula_counts_as_it_is_drawn() -> None:
    assert letters(r"time $\kappa t$ (s)") == len("time xt (s)")
    assert letters(r"$G\,/\,G_\mathrm{max}$") == len("G/Gmax")


@given(st.lists(WORDS, min_size=1, max_size=40), st.integers(8, 80))
def test_words_stay_whole_and_lines_short(words: list[str], width: int) -> None:
    folded = in_lines(" ".join(words), width)
    assert folded.replace("\n", " ") == " ".join(words)
    longest = max(letters(word) for word in words)
    assert all(letters(line) <= max(width, longest) for line in folded.splitlines())


def test_lines_stay_apart() -> None:
    assert in_lines("one\ntwo three", 60) == "one\ntwo three"

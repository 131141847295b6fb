"""Case folding that gives the same result in Python and in both databases."""

from __future__ import annotations

FINAL_SIGMA, SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"


def fold(text: str) -> str:
    """Fold the case.

    A final sigma becomes a normal sigma, so that a part of a word folds the same way as the whole word.
    """
    return text.lower().replace(FINAL_SIGMA, SIGMA)

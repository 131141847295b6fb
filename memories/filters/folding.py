"""Case folding that gives the same result in Python and in both databases."""

from __future__ import annotations

FINAL_SIGMA, SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"

_PIECE_LENGTH = 262_144  # characters that are folded at once


def fold(text: str) -> str:
    """Return the text with its case folded.

    A final sigma becomes a normal sigma, so that a part of a word folds the same way as the whole word. A long text is
    folded in pieces, because folding blocks other threads.
    """
    if len(text) > _PIECE_LENGTH:
        return "".join(fold(text[at : at + _PIECE_LENGTH]) for at in range(0, len(text), _PIECE_LENGTH))
    return text.lower().replace(FINAL_SIGMA, SIGMA)

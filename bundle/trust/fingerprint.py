"""Six words that two people compare by phone: 96 bits of a key, or of a set of root keys.

Each word is five letters, consonant and vowel in turn, and stands for 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterable

from bundle.digest import digest
from bundle.trust.errors import WrongFingerprint
from bundle.trust.trust_file import Trust

WORDS = 6
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


def of_key(public: bytes) -> str:
    """Return the words of a public key."""
    return _words(digest("fingerprint.key", public))


def of_roots(trust: Trust) -> str:
    """Return the words of a trust file's root keys and their threshold."""
    return of_root_keys(trust.roots, trust.threshold)


def of_root_keys(keys: Iterable[bytes], threshold: int) -> str:
    """Return the words of a set of root keys and how many of them must sign."""
    return _words(digest("fingerprint.roots", bytes([threshold]) + b"".join(sorted(keys))))


def same(typed: str, expected: str) -> bool:
    """Return whether the typed words are the expected ones, whatever case and separators."""
    return _letters(typed) == _letters(expected)


def require(typed: str, expected: str, *, where: str = "") -> None:
    """Raise WrongFingerprint unless the typed words are the expected ones."""
    if not same(typed, expected):
        raise WrongFingerprint(where=where, found=expected, expected=typed)


def _words(data: bytes) -> str:
    return "-".join(
        _word(int.from_bytes(data[at : at + 2], "big")) for at in range(0, 2 * WORDS, 2)
    )


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12]
        + _VOWELS[bits >> 10 & 3]
        + _CONSONANTS[bits >> 6 & 15]
        + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())

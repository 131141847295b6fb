"""The text format of API keys.

A key has the form `soma_<prefix>_<secret><checksum>`: 8 characters to find the row, 256 bits of secret, and a CRC-32,
which reveals mistyped keys without a query. Only the SHA-256 of the whole key is stored: a secret of 256
random bits needs no slow hash. A secret imported from another installation may be any string of 32 or more characters.

Sekha's clients reject keys that do not begin with `sk-sekha-`. A key in `sekha` style begins with that prefix instead
of `soma_`, and works in the same way.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

from somamemory.errors import InvalidInput

_ALPHABET = string.digits + string.ascii_letters
_PREFIX_LENGTH = 8
_SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
_CHECKSUM_LENGTH = 6  # 62 ** 6 > 2 ** 32
STYLES = {"soma": "soma_", "sekha": "sk-sekha-"}
_FORM = re.compile(
    rf"(?:{'|'.join(STYLES.values())})"
    rf"([0-9A-Za-z]{{{_PREFIX_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}})"
)
MIN_IMPORTED_LENGTH = 32
MAX_KEY_LENGTH = 512


def generate(style: str = "soma", prefix: str = "") -> str:
    """Return a new key, with the given prefix or, if it is empty, a random one."""
    prefix = prefix or "".join(secrets.choice(_ALPHABET) for _ in range(_PREFIX_LENGTH))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    body = f"{STYLES[style]}{prefix}_{secret}"
    return body + checksum(body)


def checksum(text: str) -> str:
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def prefix_of(token: str) -> str:
    """Return the prefix used to find a key's row. For an imported secret, the prefix is derived from the digest."""
    if match := _FORM.fullmatch(token):
        return match[1]
    return "x" + digest_of(token).hex()[:11]


def is_mistyped(token: str) -> bool:
    """Return whether a token has the form of our own keys but the wrong checksum."""
    return bool(_FORM.fullmatch(token)) and checksum(token[:-_CHECKSUM_LENGTH]) != token[-_CHECKSUM_LENGTH:]


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def is_possible(token: str) -> bool:
    """Return whether a token can be a key, so that it is worth looking up."""
    return MIN_IMPORTED_LENGTH <= len(token) <= MAX_KEY_LENGTH and token.isascii()


def check_secret(secret: str) -> str:
    """Return an imported secret. Raises InvalidInput if it cannot be used as a key."""
    if not MIN_IMPORTED_LENGTH <= len(secret) <= MAX_KEY_LENGTH:
        raise InvalidInput("secret", f"must have {MIN_IMPORTED_LENGTH} to {MAX_KEY_LENGTH} characters")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise InvalidInput("secret", "must be printable ASCII without spaces, because it is sent in a header")
    if is_mistyped(secret):
        raise InvalidInput("secret", "looks like a SomaMemory key, but its checksum is wrong; check for typos")
    return secret

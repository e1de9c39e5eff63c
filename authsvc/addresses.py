"""Reading an e-mail address strictly, and the key under which it is the same account.

Knows no database and sends nothing. email-validator was tried: it turns a fullwidth domain into ASCII, lets a
local part be too long, and refuses `.local` and `.test`, so that most of this would stay beside it.
"""

import re
import unicodedata
from dataclasses import dataclass

import idna

from authsvc.errors import InvalidEmailError

LOCAL_MAX = 64  # RFC 5321 4.5.3.1
ADDRESS_MAX = 254
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL_PART = re.compile(rf"{ATOM}(\.{ATOM})*")
DOMAIN_CATEGORIES = ("L", "M", "Nd")
# Only ASCII letters: Unicode's lower-casing maps different letters to one, and people would share an account.
ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Address:
    """`typed` is what mail goes to, `key` what is compared: no dots or tags of the local part are folded."""

    typed: str
    key: str

    @property
    def local_part(self) -> str:
        return self.key.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.key.rpartition("@")[2]


def parse(text: str) -> Address:
    """The address. Raises InvalidEmailError."""
    local, at, domain = text.partition("@")
    if not at or not LOCAL_PART.fullmatch(local) or len(local) > LOCAL_MAX:
        raise InvalidEmailError
    key = f"{local.translate(ASCII_LOWER)}@{_domain_key(domain.removesuffix('.'))}"
    typed = unicodedata.normalize("NFC", text)
    if len(key) > ADDRESS_MAX or len(typed) > ADDRESS_MAX:
        raise InvalidEmailError
    return Address(typed, key)


def _domain_key(domain: str) -> str:
    """The domain in A-labels (IDNA 2008)."""
    # IDNA's mapping would drop invisible characters and turn look-alikes into ASCII: those are refused.
    if not all(map(_is_domain_character, domain)):
        raise InvalidEmailError
    try:
        encoded = idna.encode(domain, uts46=True, transitional=False, std3_rules=True).decode("ascii")
    except UnicodeError as error:
        raise InvalidEmailError from error
    labels = encoded.split(".")
    if len(labels) < 2 or labels[-1].isdecimal():
        raise InvalidEmailError
    return encoded


def _is_domain_character(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "-."
    turns_ascii = unicodedata.normalize("NFKC", character).isascii()
    return unicodedata.category(character).startswith(DOMAIN_CATEGORIES) and not turns_ascii

"""The reference we give a voucher in the ERP: the same on every attempt, different for every version of every document. Pure."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import Literal

LENGTH_MIN = 20
LENGTH_MAX = 32
_HASH_CHARACTERS = 16  # 80 bits: ten million documents meet once in ten billion such ledgers.
_PLAIN_COMPANY = re.compile(r"[A-Z0-9]+").fullmatch  # A dash inside a company would let two documents meet.
_PLAIN_NUMBER = re.compile(r"[A-Z0-9-]+").fullmatch
_OTHER = re.compile(r"[^A-Z0-9]+")


def make_reference(
    company: str, number: str, version: int, purpose: Literal["post", "reverse"], max_length: int = LENGTH_MAX
) -> str:
    """`C01-EXP2025-0017-V1`, and `-R` at the end for its reversal; characters are A-Z, 0-9 and dash only.

    Where the number has other characters (lower case too) or it would be longer than `max_length` (at least 20), the
    end of the number and a hash of the exact key stand instead: `C01-2025-0017-X7QK...`. Two different keys never share
    a reference: a plain one can be read back, and a hashed one never looks like a plain one.
    """
    assert max_length >= LENGTH_MIN, "a reference needs 20 characters"
    end = "-R" if purpose == "reverse" else ""
    if _PLAIN_COMPANY(company) and _PLAIN_NUMBER(number):
        plain = f"{company}-{number}-V{version}{end}"
        if len(plain) <= max_length:
            return plain
    exact = "\x1f".join((company, number, str(version))).encode()
    digest = base64.b32encode(sha256(exact).digest()).decode()[:_HASH_CHARACTERS]
    readable = _OTHER.sub("-", f"{company}-{number}".upper()).strip("-")
    room = (
        max_length - len(digest) - len("-X") - len("-R")
    )  # The same for both purposes, so that the pair looks like one.
    head = readable[-room:].strip("-") if room > 0 else ""
    return f"{head}-X{digest}{end}" if head else f"X{digest}{end}"


def reference_name(kind: str, number: str) -> str:
    """What stands for a document in its references: the number of a report, and of anything else its kind before the number.

    So an advance, what is given back of it and a report of one number have three names: no number holds a blank.
    """
    return number if kind == "expense.report" else f"{kind} {number}"

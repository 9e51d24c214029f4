"""What is wrong with a message, as data: every finding at once, each with its path and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

FINDINGS_MAX = 100  # A message with more faults than this is not corrected from a list; it is made again.
GOT_CHARACTERS_MAX = 80
SECRET_FIELDS = ("bank_account",)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the error code, where it is, what was expected there, what came, and how to mend it."""

    code: str
    path: str
    expected: str
    got: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        """The finding as plain JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.code} {self.path or 'message'}: expected {self.expected}, got {self.got}; {self.fix}"


class Refused(ValueError):
    """A message that is not accepted. `findings` holds everything that is wrong with it, never empty."""

    def __init__(self, findings: Finding | Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = (findings,) if isinstance(findings, Finding) else tuple(findings)
        assert self.findings, "a refusal says what is wrong"
        super().__init__("\n".join(map(str, self.findings)))

    def __reduce__(self) -> tuple[type[Refused], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)


def broken(findings: Iterable[Finding]) -> PydanticCustomError:
    """The findings of a business check, in the form a pydantic validator raises; `refused` unpacks them again."""
    found = tuple(findings)
    return PydanticCustomError("contract", "{text}", {"findings": found, "text": "\n".join(map(str, found))})


def refused(error: ValidationError, *, skip: int = 0, prefix: str = "") -> Refused:
    """Every fault pydantic found, as findings. `skip` leading parts of each place are left out (the tag of a union)."""
    found: list[Finding] = []
    for detail in error.errors(include_url=False):
        place = path_of(detail["loc"][skip:], prefix)
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue  # There are enough entries; the faulty ones among them are told of already.
        if detail["type"] == "contract":
            found.extend(_under(place, finding) for finding in detail["ctx"]["findings"])
        else:
            found.append(_finding(detail, place))
    return Refused(limited(found))


def limited(findings: Sequence[Finding]) -> Sequence[Finding]:
    """At most `FINDINGS_MAX` of them, the last one saying how many were left out."""
    if len(findings) <= FINDINGS_MAX:
        return findings
    rest = len(findings) - FINDINGS_MAX + 1
    more = Finding("CON-118", "", "fewer faults", f"{rest} more findings", "mend these first, then send again")
    return [*findings[: FINDINGS_MAX - 1], more]


def path_of(location: Iterable[str | int], prefix: str = "") -> str:
    """A place in a message as people write it: `data.lines[0].amount`."""
    path = prefix
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def shown(value: object, path: str = "") -> str:
    """A value as a finding quotes it: one short line, control characters escaped, secrets withheld."""
    if path.rpartition(".")[2] in SECRET_FIELDS:
        return "(withheld)"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= GOT_CHARACTERS_MAX else f"{text[: GOT_CHARACTERS_MAX - 1]}…"


def _under(place: str, finding: Finding) -> Finding:
    if not place:
        return finding
    joint = "" if not finding.path or finding.path.startswith("[") else "."
    return replace(finding, path=f"{place}{joint}{finding.path}")


# What pydantic calls it -> our code, what to do about it. Types of our own (contracts.fields) carry their code along.
_STANDARD: dict[str, tuple[str, str]] = {
    "string_too_long": ("CON-116", "shorten it"),
    "string_pattern_mismatch": ("CON-117", "correct the text"),
    "json_invalid": ("CON-101", "send well-formed JSON"),
    "literal_error": ("CON-115", "use one of the values listed"),
    "too_long": ("CON-118", "split the document, or leave entries out"),
    "too_short": ("CON-118", "add at least one entry"),
    "int_parsing_size": ("CON-119", "send a number within the limits; long numbers are text"),
    "greater_than_equal": ("CON-119", "send a number within the limits"),
    "less_than_equal": ("CON-119", "send a number within the limits"),
    "greater_than": ("CON-119", "send a number within the limits"),
}


def _finding(detail: ErrorDetails, path: str) -> Finding:
    context: dict[str, Any] = detail.get("ctx", {})
    value = detail.get("input")
    if "code" in context:  # A type of our own: it says itself what it wants.
        code, expected, fix = context["code"], context["expected"], context["fix"]
        if code in ("CON-117", "CON-123", "CON-124") and not isinstance(value, str):
            code, fix = "CON-114", "send it as a JSON string"
        elif code == "CON-117" and len(value or "") > context["length_max"]:
            code, fix = "CON-116", "shorten it"
        elif code == "CON-117" and not value:
            code, fix = "CON-116", "fill it in, or leave an optional field out"
        return Finding(code, path, expected, shown(value, path), fix)
    kind = detail["type"]
    if kind == "missing":
        return Finding("CON-112", path, "this field", "nothing", "add the field")
    if kind == "extra_forbidden":
        return Finding("CON-113", path, "no such field", shown(value, path), "remove the field, or correct its name")
    code, fix = _STANDARD.get(kind, ("CON-114", "send it in the form the schema of this type gives"))
    return Finding(code, path, _expected(detail), shown(value, path), fix)


def _expected(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Input should be ")
    return message[:1].lower() + message[1:]

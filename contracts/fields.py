"""The scalar types and the base class every contract is made of: limits and forms are checked once, while parsing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

VERSION_MAX = 9_007_199_254_740_991  # 2^53 - 1: every JSON reader keeps integers exact up to here.


@dataclass(frozen=True, slots=True)
class Form:
    """A string of one form: a pattern and a length, with the finding it gives where it is broken."""

    pattern: str
    length_max: int
    expected: str
    fix: str
    length_min: int = 1
    code: str = "CON-117"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.str_schema(
                pattern=self.pattern, min_length=self.length_min or None, max_length=self.length_max, strict=True
            ),
            custom_error_type="form",
            custom_error_message="expected {expected}",
            custom_error_context={
                "code": self.code,
                "expected": self.expected,
                "fix": self.fix,
                "length_max": self.length_max,
            },
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """A date or a time in its one written form; timestamps, two-digit years and days that do not exist are refused."""

    pattern: str
    code: str
    expected: str
    fix: str
    kind: Literal["date", "date-time"]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=self.pattern, strict=True)
        return core_schema.custom_error_schema(
            core_schema.json_or_python_schema(
                # After the pattern matched, the text is a date or time and nothing else, so the lax parser adds no leeway.
                json_schema=core_schema.chain_schema([text, self._parser(strict=False)]),
                python_schema=self._parser(strict=True),
            ),
            custom_error_type="form",
            custom_error_message="expected {expected}",
            custom_error_context={"code": self.code, "expected": self.expected, "fix": self.fix},
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"type": "string", "format": self.kind, "pattern": self.pattern}

    def _parser(self, *, strict: bool) -> CoreSchema:
        if self.kind == "date":
            return core_schema.date_schema(strict=strict, ge=date(1990, 1, 1), le=date(2100, 12, 31))
        return core_schema.datetime_schema(strict=strict, tz_constraint="aware")


# Never in any text: control characters (tab and line ends are allowed in free text), bidirectional overrides, which make a
# console show another name than the one that is booked, and code points XML cannot carry.
_BIDI = r"\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069"
_NEVER = rf"\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u2028\u2029{_BIDI}\uFFF9-\uFFFB\uFFFE\uFFFF"
_COMPANY = r"[A-Za-z0-9_-]"
# Letters of document numbers and codes: only such as have one spelling in Unicode, so that two that look equal are equal.
_LETTER = r"A-Za-z0-9\u3007\u3010\u3011\u3014\u3015\u3041-\u3094\u30A1-\u30FA\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3"
_VISIBLE = rf"!-~\u00C0-\u024F\u0400-\u0481\u048A-\u052F\u300A-\u300F\uFF08\uFF09{_LETTER[9:]}"
NUMBER_PATTERN = rf"^[{_LETTER}](?:[{_LETTER} ._#()+:-]*[{_LETTER}()])?$"

Company = Annotated[
    str,
    Form(
        rf"^{_COMPANY}+$",
        32,
        "a company code of letters, digits, - and _, at most 32",
        "send the company code both systems share",
    ),
]
Number = Annotated[
    str,
    Form(
        NUMBER_PATTERN,
        64,
        "a document number of letters, digits and . _ # ( ) + : - inside, 1 to 64 characters, no slash, in plain width",
        "send the number as it is printed on the document, without blanks at its ends",
    ),
]
Code = Annotated[
    str,
    Form(
        rf"^[{_VISIBLE}](?:[ {_VISIBLE}]*[{_VISIBLE}])?$",
        64,
        "a code of 1 to 64 visible letters, digits and signs, no blanks at its ends, in Unicode's composed form (NFC)",
        "send the code as the master data has it",
    ),
]
Name = Annotated[
    str,
    Form(
        rf"^[^{_NEVER}\t\n\r]+$",
        200,
        "one line of text, 1 to 200 characters without control characters",
        "remove control and direction characters",
    ),
]
Text = Annotated[
    str,
    Form(
        rf"^[^{_NEVER}]*$",
        1000,
        "text of at most 1000 characters without control characters",
        "remove control and direction characters",
        length_min=0,
    ),
]
Identifier = Annotated[
    str, Form(r"^[!-~]+$", 128, "an id of 1 to 128 visible ASCII characters", "send the id as it was given")
]
InvoiceNumber = Annotated[
    str,
    Form(
        r"^[A-Za-z0-9-]+$",
        32,
        "an invoice number of letters, digits and -, at most 32",
        "copy the number from the invoice",
    ),
]
Currency = Annotated[
    str,
    Form(r"^[A-Z]{3}$", 3, "a currency code of three capital letters", "use the ISO 4217 code, like CNY", 3, "CON-122"),
]
Sha256 = Annotated[
    str, Form(r"^[0-9a-f]{64}$", 64, "a SHA-256 of 64 lower-case hexadecimal digits", "send the SHA-256 of the file")
]
MediaType = Annotated[
    str,
    Form(
        r"^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$",
        127,
        "a media type like application/pdf",
        "send type/subtype in lower case, without parameters",
    ),
]
Version = Annotated[int, Field(ge=1, le=VERSION_MAX)]
Day = Annotated[
    date,
    Moment(
        r"^(?:199[0-9]|20[0-9]{2}|2100)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$",
        "CON-123",
        "a day that exists, as YYYY-MM-DD, from 1990 to 2100",
        "send the date as YYYY-MM-DD",
        "date",
    ),
]
Instant = Annotated[
    datetime,
    Moment(
        r"^(?:199[0-9]|20[0-9]{2}|2100)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
        r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$",
        "CON-124",
        "a time with its zone like 2025-04-03T10:11:05+08:00, from 1990 to 2100",
        "send date, time and zone (Z or +08:00)",
        "date-time",
    ),
]


class Contract(BaseModel):
    """A frozen value of the shared language: unknown fields are refused and nothing is converted silently.

    Its validator is built when it is first used, so that a command that reads one event builds no others; a process with
    threads builds all of them before it starts any (`build_contracts`)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        revalidate_instances="never",
        hide_input_in_errors=True,
        defer_build=True,
    )


def build_contracts() -> None:
    """Builds the validator of every contract that has none yet. Two threads must not build one at the same time."""
    waiting: list[type[BaseModel]] = list(Contract.__subclasses__())
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        model.model_rebuild()


class Data(Contract):
    """What an event is about. Every kind of data belongs to a company and has a version that only grows."""

    company: Company
    version: Version

    @property
    def subject(self) -> str:
        """The number by which both systems know this document or record."""
        raise AssertionError(f"{type(self).__name__} names no subject")

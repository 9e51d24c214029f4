"""Errors of the HTTP doors as RFC 9457 problems: our code, a title, what happened, and every finding, in en or zh."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from starlette.responses import Response

from contracts import Finding, code
from contracts.phrases import in_chinese

PROBLEM = "application/problem+json"
TYPE = "urn:oa-erp-connector:code:"
Language = Literal["en", "zh"]


class Problem(Exception):
    """A request that is answered with an error. `more` are members of the problem beside the standard ones."""

    def __init__(
        self,
        status: int,
        findings: Finding | Sequence[Finding],
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.findings = [findings] if isinstance(findings, Finding) else list(findings)
        assert self.findings, "a problem says what is wrong"
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        super().__init__(str(self.findings[0]))

    def body(self, language: Language) -> bytes:
        """The problem as JSON."""
        first = self.findings[0]
        known = code(first.code)
        zh = language == "zh"
        more = len(self.findings) - 1
        value = {
            "type": f"{TYPE}{first.code}",
            "title": known.title_zh if zh else known.title_en,
            "status": self.status,
            "code": first.code,
            "detail": _detail(first, more, zh=zh),
            "findings": [told(finding, language) for finding in self.findings],
        }
        return json.dumps(value | self.more, ensure_ascii=False).encode()

    def response(self, language: Language) -> Response:
        """The problem as an HTTP response."""
        return Response(self.body(language), self.status, self.headers, PROBLEM)


def told(finding: Finding, language: Language) -> dict[str, str]:
    """A finding as JSON-able values; in zh with the title of its code."""
    if language == "en":
        return finding.as_dict()
    return {"title": code(finding.code).title_zh, **in_chinese(finding).as_dict()}


def language_of(accepted: str | None) -> Language:
    """zh where the Accept-Language header prefers it over English, else en."""
    best: tuple[int, Language] = (0, "en")
    for entry in (accepted or "")[:200].lower().split(","):
        tag, _, parameters = entry.strip().partition(";")
        weight = _weight(parameters)
        primary = tag.partition("-")[0].strip()
        if primary in ("en", "zh") and weight > best[0]:
            best = (weight, "zh" if primary == "zh" else "en")
    return best[1]


def _weight(parameters: str) -> int:
    """A quality value like `q=0.8` in thousandths; 1000 without one."""
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1000
    whole, _, fraction = value.strip().partition(".")
    if not (whole in ("0", "1") and (fraction or "0").isdecimal()):
        return 0
    return 1000 if whole == "1" else int(fraction[:3].ljust(3, "0") or "0")


def _detail(first: Finding, more: int, *, zh: bool) -> str:
    known = code(first.code)
    if zh:
        said = in_chinese(first)
        at = f"{said.path}：" if said.path else ""
        rest = f"（另有 {more} 项）" if more else ""
        return f"{known.meaning_zh}{at}应为 {said.expected}，实为 {said.got}；{said.fix}{rest}"
    at = f"{first.path}: " if first.path else ""
    rest = f" (and {more} more)" if more else ""
    return f"{known.meaning_en} {at}expected {first.expected}, got {first.got}; {first.fix}{rest}"

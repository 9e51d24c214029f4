"""Problems speak the reader's language and carry every finding."""

from __future__ import annotations

import json

import pytest

from contracts import Finding
from workers.problem import Problem, language_of

FINDING = Finding("CON-120", "data.total", "text", "1.0", "send text")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("zh", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("fr, zh;q=0.2", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=nan, en;q=0.1", "en"),
        ("*", "en"),
        (";;;,,,q=1", "en"),
    ],
)
def test_the_language_is_the_one_the_reader_prefers(accepted: str | None, language: str) -> None:
    assert language_of(accepted) == language


def test_a_problem_has_the_members_of_the_standard_and_ours() -> None:
    told = json.loads(Problem(422, [FINDING, FINDING], more={"dead_letter": 3}).body("en"))

    assert set(told) == {"type", "title", "status", "code", "detail", "findings", "dead_letter"}
    assert told["detail"].endswith("data.total: expected text, got 1.0; send text (and 1 more)")


def test_a_problem_in_chinese_says_what_to_do_in_chinese() -> None:
    told = json.loads(Problem(422, FINDING).body("zh"))

    assert told["title"] == "金额格式错误"
    assert "请以文本发送" in told["detail"]

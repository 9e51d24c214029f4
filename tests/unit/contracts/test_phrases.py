"""Every text a finding is made of has its Chinese, and no template takes another's text for its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files

from contracts import Finding
from contracts.phrases import chinese, in_chinese, read_phrases
from tests.support.said import Said, Sources
from workers.cli.texts import CHINESE

HOLE = re.compile(r"\{(\w*)\}")
PHRASES = list(read_phrases((files("contracts") / "codes/phrases.txt").read_text("utf-8")))
ENGLISH = [english for english, _ in PHRASES if not english.startswith("=")]
SOURCES = Sources()
WORDS = [english[1:] for english, _ in PHRASES if english.startswith("=")]
SENTENCE = re.compile(r"[A-Za-z]{2,}.* |.* [A-Za-z]{2,}")
NOTATION = re.compile(r"[a-z_ ]+ [A-Z0-9][A-Z0-9.@> -]*")  # As a case is written, the same in both languages.
SENTENCE_OF_A_LETTER = "{}: expected {}, got {}; {}{}"  # Told by two templates, one inside the other.
VALUES = {
    "n": "7",
    "m": "8",
    "day": "2025-03-31",
    "end": "2025-04-01",
    "reference": "C01-EX1-V1",
    "place": "data.total",
}


def texts_without_chinese(said: Iterator[Said]) -> set[str]:
    known = {HOLE.sub("{}", english) for english in ENGLISH} | CHINESE.keys() | {SENTENCE_OF_A_LETTER}
    known |= {f"a {word}" for word in WORDS}
    return {
        f"{one.at}: {one.text}"
        for one in said
        if SENTENCE.match(HOLE.sub("", one.text)) and not NOTATION.fullmatch(one.text)
        if HOLE.sub("{}", one.text) not in known and one.text.isascii()
        if not one.at.startswith(("connector/ledger/story.py", "connector/testing/"))
    }


def kind_of(name: str, word: str, phrase: str, value: str) -> str:
    return word if name.isupper() else phrase if name.istitle() else value


def filled(template: str, translation: str) -> tuple[str, str]:
    """Both with the same values: a phrase where there must be one, else something that none of our texts says."""
    names = HOLE.findall(template)
    values = {name: VALUES.get(name, f"<{place}>") for place, name in enumerate(names)}
    english = {name: kind_of(name, "POSTED", "nothing", value) for name, value in values.items()}
    zh = {name: kind_of(name, "已过账", "空", value) for name, value in values.items()}
    return HOLE.sub(lambda hole: english[hole[1]], template), HOLE.sub(lambda hole: zh[hole[1]], translation)


def test_whatever_a_finding_expects_gets_or_advises_has_its_chinese() -> None:
    assert texts_without_chinese(SOURCES.said("expected", "fix", "got")) == set()


def test_whatever_is_noted_or_told_of_a_document_has_its_chinese() -> None:
    assert texts_without_chinese(SOURCES.said("message", "note", "reason", "why")) == set()


def test_a_text_comes_once() -> None:
    shapes = [HOLE.sub(lambda hole: "{A}" if hole[1][0].isupper() else "{}", english) for english in ENGLISH]
    assert [shape for shape, times in Counter(shapes).items() if times > 1] == []


def test_a_template_with_its_values_comes_back_as_its_own_translation() -> None:
    said = [filled(english, translation) for english, translation in PHRASES if not english.startswith("=")]
    assert {text: chinese(text) for text, _ in said} == dict(said)


def test_a_translation_uses_only_values_that_its_phrase_has() -> None:
    assert [zh for english, zh in PHRASES if not set(HOLE.findall(english)) >= set(HOLE.findall(zh))] == []


def test_a_text_that_is_no_phrase_stays_for_the_caller_to_show() -> None:
    assert chinese("The move is locked by another user.") is None


def test_a_template_is_not_taken_where_its_word_is_none_of_ours() -> None:
    assert chinese("a department of C01") == "C01 的部门"
    assert chinese("a lawyer of C01") is None


def test_a_value_stays_as_it_came_even_where_it_is_a_word_of_ours() -> None:
    assert chinese("a column department") == "列 department"


def test_a_finding_in_chinese_keeps_its_code_path_and_data() -> None:
    finding = Finding(
        "CON-131", "data.total", "the sum of the lines, 100.00", "99.00", "correct the lines or the total"
    )
    assert in_chinese(finding) == Finding("CON-131", "data.total", "各行之和 100.00", "99.00", "更正明细行或合计")


def test_advice_that_nobody_translated_becomes_the_one_of_its_code() -> None:
    finding = Finding("ERP-401", "", "the ERP to take it", "no", "ask the vendor")
    assert in_chinese(finding).fix == "请查看 ERP 的提示，更正数据或对照后重放。"


def test_a_sentence_of_a_dead_letter_is_read_whole() -> None:
    said = "data.total: expected at most 5 bytes, got nothing; split the document (and 2 more)"
    assert chinese(said) == "data.total：应为 最多 5 字节，实为 空；拆分单据（另有 2 项）"


def test_a_numbered_letter_is_chinese_whatever_commas_its_advice_has() -> None:
    said = chinese(
        "1: type: expected expense.report.approved.v1 or an older version that can still be read,"
        " got expense.report.approved.v9; upgrade the connector before the sender, then replay"
    )

    assert said is not None
    assert said.startswith("1：type：应为")
    assert said.endswith("先升级连接器、后升级发送方，再重放")
    assert "then" not in said


def test_steps_are_told_one_after_the_other() -> None:
    assert (
        chinese("reverse version 1, then post version 2")
        == f"先{chinese('reverse version 1')}，再{chinese('post version 2')}"
    )

"""The reference pages list every command, setting, error code, event type, route, table and metric, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from connector.bootstrap import open_runtime
from connector.ledger.tables import metadata
from connector.settings import Settings
from connector.translate.expression import compile_expression
from contracts import CATALOGUE, all_codes
from docs import generate
from workers.gateway import make_gateway

DOCS = Path(__file__).parents[3] / "docs"
LANGUAGES = pytest.mark.parametrize("language", generate.LANGUAGES)


def page(language: str, name: str) -> str:
    return (DOCS / language / "reference" / f"{name}.md").read_text("utf-8")


def test_the_generated_pages_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    code = generate.main(["--check"])

    assert code == 0, capsys.readouterr().err


@LANGUAGES
def test_every_command_with_its_options_is_listed(language: str) -> None:
    lines = page(language, "commands").splitlines()

    for command in generate.commands():
        assert f"## {command.path}" in lines
        for parameter in command.node.params:
            if parameter.param_type_name == "option" and not parameter.hidden and "completion" not in parameter.name:
                assert any(f"`{parameter.opts[0]}`" in line for line in lines), (command.path, parameter.opts)


def test_every_command_and_every_option_says_what_it_is_for() -> None:
    for command in generate.commands():
        assert (command.node.help or "").strip(), command.path
        for parameter in command.node.params:
            assert (parameter.help or "").strip(), (command.path, parameter.name)


@LANGUAGES
def test_every_setting_is_listed_with_its_variable(language: str) -> None:
    text = page(language, "settings")

    for setting in generate.settings():
        assert f"| `{setting.path}` | `{setting.variable}` |" in text


def test_every_setting_says_what_it_is_for() -> None:
    assert [setting.path for setting in generate.settings() if not setting.field.description] == []


@LANGUAGES
def test_every_error_code_is_listed(language: str) -> None:
    text = page(language, "error-codes")

    for code in all_codes():
        assert f"| {code} |" in text.replace(f'<a id="{code}"></a>', "")


@LANGUAGES
def test_every_event_type_is_listed(language: str) -> None:
    lines = page(language, "events").splitlines()

    for name in CATALOGUE:
        assert f"## {name}" in lines


@LANGUAGES
def test_every_route_and_metric_of_the_gateway_is_listed(language: str, tmp_path: Path) -> None:
    text = page(language, "http")
    runtime = open_runtime(Settings(home=tmp_path))
    runtime.ledger.upgrade()
    try:
        for route in make_gateway(runtime).routes:
            assert isinstance(route, Route)
            assert route.path in text
        from workers.gauges import ledger_gauges

        for metric in ledger_gauges(runtime.ledger):
            assert metric.name in text
    finally:
        runtime.close()


@LANGUAGES
def test_every_table_of_the_ledger_is_listed(language: str) -> None:
    text = page(language, "database")

    for table in metadata.tables:
        assert f"| `{table}` |" in text


@LANGUAGES
def test_a_page_in_chinese_has_no_text_left_in_english(language: str) -> None:
    texts = generate.load_texts(language)
    for made in generate.PAGES.values():
        made(texts)

    assert texts.missing == []


def test_no_translation_is_left_over() -> None:
    english = generate.load_texts("en")
    asked: set[str] = set()

    class Asking(generate.Texts):
        def __call__(self, text: str) -> str:
            asked.add(" ".join(text.split()))
            return super().__call__(text)

    for made in generate.PAGES.values():
        made(Asking("zh", english.chinese, []))

    assert sorted(set(english.chinese) - asked) == []


def test_every_code_that_the_code_gives_is_in_the_catalogue() -> None:
    given: dict[str, str] = {}
    for package in ("contracts", "connector", "workers"):
        for path in (DOCS.parent / package).rglob("*.py"):
            for name in re.findall(r'"((?:CON|MAP|ERP|OA|SYN|SEC|CFG|OPS)-[0-9]{3})"', path.read_text("utf-8")):
                given[name] = str(path)

    assert {name: path for name, path in given.items() if name not in all_codes()} == {}


@pytest.mark.parametrize(
    ("path", "kind", "missing"), [(path, term.kind, missing) for path, term, missing in generate.names()]
)
def test_an_expression_may_name_what_the_page_lists_as_what_it_says(path: str, kind: str, missing: bool) -> None:
    if kind == "record":
        fields = [name for name, _, _ in generate.names() if name.startswith(f"{path}.")]
        assert fields, f"{path} has fields"
        return
    fixed = {"number": "0", "text": '""', "boolean": "true", "date": 'date("2025-03-31")'}
    there = f"coalesce({path}, {fixed.get(kind, path)})" if missing and kind in fixed else path
    uses = {
        "number": f"{there} > 0",
        "text": f"len({there}) > 0",
        "boolean": f"{there} and true",
        "date": f"day({there}) == 1",
        "time": f"day({there}) == 1",
        "list": f"{path} == none" if missing else f"len({path}) > 0",
    }

    compile_expression(uses[kind], "book.yaml:1", "boolean")


OPERANDS = {"a": "amount", "b": "report.total", "c": "5"}


@pytest.mark.parametrize("written", generate.OPERATORS)
def test_an_expression_is_written_as_the_page_says(written: str) -> None:
    if ", none" in written:
        words = written.split(", ")
        source = " or ".join(f"{word} == coalesce({word}, {word})" for word in words if word != "none")
    elif re.search(r"\b(and|or|not a|if)\b", written):
        source = re.sub(r"\b[ab]\b", "true", written).replace("x if", "false if").replace("else y", "else true")
    elif " in " in written:
        source = re.sub(r"\ba\b", "account", written)
    else:
        source = re.sub(r"\b[abc]\b", lambda found: OPERANDS[found[0]], written)
        source = f"round({source}, 2)" if "/" in written else source
        source = source if re.search("[=<>]", written) else f"{source} > 0"

    compile_expression(source, "book.yaml:1", "boolean")

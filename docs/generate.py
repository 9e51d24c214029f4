"""Writes the reference pages of commands, settings, codes, events and expressions in both languages; `--check` says whether they are fresh."""

from __future__ import annotations

import argparse
import enum
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from connector.settings import Section, Settings
from connector.translate import expression_text
from connector.translate.vocabulary import FUNCTIONS, NAMES, UNITS, Term, fields_of
from contracts.catalogue import CATALOGUE
from contracts.codes import FAMILIES, all_codes
from workers.cli.help_texts import HELP

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")


class Missing(Exception):
    """A text that the code gives in English has no Chinese: of a command in workers/cli/help_texts.py, else in docs/zh/texts.yaml."""


@dataclass(frozen=True)
class Texts:
    """What the code says in English, in the language of the page."""

    language: str
    chinese: Mapping[str, str]
    missing: list[str]

    def __call__(self, english: str) -> str:
        """The text in the page's language; what has no translation is remembered in `missing`."""
        flat = " ".join(english.split())
        if self.language == "en" or not flat:
            return flat
        if flat not in self.chinese and flat not in self.missing:
            self.missing.append(flat)
        return self.chinese.get(flat, flat)


def load_texts(language: str) -> Texts:
    """The translations of a language, keyed by the English text."""
    chinese = yaml.load((HERE / "zh" / "texts.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - text only
    return Texts(language, {**HELP, **chinese}, [])


# Commands


@dataclass(frozen=True)
class Command:
    """One command of `oaerp` with its arguments and options, as Typer knows them."""

    path: str
    node: Any

    @property
    def is_group(self) -> bool:
        return hasattr(self.node, "list_commands")


def commands() -> Iterator[Command]:
    """Every visible command, groups before what is in them."""
    import workers.cli
    from workers.cli.base import app

    for module in pkgutil.iter_modules(workers.cli.__path__):
        importlib.import_module(f"workers.cli.{module.name}")  # each registers its commands
    yield from _walk("oaerp", typer.main.get_command(app))


def _walk(path: str, node: Any) -> Iterator[Command]:
    yield Command(path, node)
    if not hasattr(node, "list_commands"):
        return
    context = node.context_class(node, info_name=path)
    for name in sorted(node.list_commands(context)):
        child = node.get_command(context, name)
        if not child.hidden:
            yield from _walk(f"{path} {name}", child)


EXIT_CODES: Mapping[str, tuple[str, str]] = {
    "OK": ("all went well", "一切正常"),
    "FINDINGS": ("something was found: a report is refused, a check failed, a difference", "有检查结果：报销单被拒绝、检查未通过、存在差异"),
    "USAGE": ("wrong usage", "用法错误"),
    "CONFIGURATION": ("wrong or unsafe settings", "设置错误或不安全"),
    "AWAY": ("ledger, broker or another system is away", "台账、消息中间件或其他系统不可用"),
    "NOT_PERMITTED": ("not permitted", "无权限"),
    "PARTLY": ("a part was done, a part refused", "部分完成，部分被拒绝"),
    "CONFLICT": ("it is in another state than you think, or somebody else is at it", "状态与预期不同，或他人正在处理"),
    "BUG": ("a fault of the connector", "连接器自身的故障"),
    "INTERRUPTED": ("interrupted", "已中断"),
}  # fmt: skip


def commands_page(text: Texts) -> str:
    """Every command with its arguments, options and defaults, and the exit codes."""
    from workers.cli import state

    head = {
        "en": "# Commands\n\nData goes to stdout, progress and messages to stderr.\nThe options of `oaerp` stand before the command.\n",
        "zh": "# 命令\n\n数据输出到 stdout，进度与提示输出到 stderr。\n`oaerp` 的选项写在命令之前。\n",
    }
    parts = [head[text.language]]
    for command in commands():
        parts.append(f"\n## {command.path}\n\n{_paragraphs(command.node.help or '', text)}\n")
        if rows := list(_parameters(command, text)):
            columns = ("name", "default", "meaning") if text.language == "en" else ("名称", "默认值", "说明")
            parts.append("\n" + _table(columns, rows))
    title, columns = ("Exit codes", ("code", "meaning")) if text.language == "en" else ("退出码", ("退出码", "含义"))
    meanings = [(str(getattr(state, name)), said[LANGUAGES.index(text.language)]) for name, said in EXIT_CODES.items()]
    parts.append(f"\n## {title}\n\n" + _table(columns, meanings))
    return "".join(parts)


def _paragraphs(help_text: str, text: Texts) -> str:
    blocks = [block.strip() for block in help_text.replace("\b", "").split("\n\n") if block.strip()]
    return "\n\n".join(text(block) for block in blocks)


def _parameters(command: Command, text: Texts) -> Iterator[tuple[str, str, str]]:
    for parameter in command.node.params:
        if parameter.hidden or parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            name = f"`{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}`"
        else:
            name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
        required = "required" if text.language == "en" else "必填"
        default = required if parameter.required else _default(parameter.default)
        yield name, default, text(parameter.help or "")


def _default(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    if value in (None, (), [], "") or value is False or callable(value):
        return ""
    return f"`{value}`"


# Settings


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted path in the file, the variable that sets it, its default and its description."""

    path: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """The environment variable; lists of sections are given as JSON in the variable of the list."""
        return "OAERP_" + self.path.split("[]")[0].replace(".", "__").upper()


def settings(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Setting]:
    """Every setting there is, sections before what is in them."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        path = f"{prefix}{name}"
        if section is None:
            yield Setting(path, field)
        elif get_origin(field.annotation) is tuple:
            yield Setting(f"{path}[]", field)
            yield from settings(section, f"{path}[].")
        else:
            yield from settings(section, f"{path}.")


def _section(annotation: Any) -> type[Section] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def settings_page(text: Texts) -> str:
    """Every setting with its variable, default, limits and meaning."""
    head = {
        "en": "# Settings\n\nSettings come from `oaerp.yaml` (or the file that `OAERP_CONFIG` or `--config` names) and from"
        " the environment, which wins.\nAn unknown name is an error.\n`oaerp config show` prints what is in force, without"
        " secrets; `oaerp doctor` says what is unsafe.\nA list of sections (`folders`, `oa`, `erp`) is given in the file, or"
        " as JSON in its variable.\n\n",
        "zh": "# 设置\n\n设置来自 `oaerp.yaml`（或 `OAERP_CONFIG`、`--config` 指定的文件）和环境变量，环境变量优先。\n未知的名称视为错误。\n"
        "`oaerp config show` 显示生效的设置（不含密钥）；`oaerp doctor` 指出不安全之处。\n"
        "分节列表（`folders`、`oa`、`erp`）写在文件里，或以 JSON 写进对应的环境变量。\n\n",
    }
    columns = {
        "en": ("setting", "variable", "default", "limits", "meaning"),
        "zh": ("设置", "环境变量", "默认值", "范围", "说明"),
    }
    rows = [
        (
            f"`{setting.path}`",
            f"`{setting.variable}`",
            _setting_default(setting.field, text),
            _limits(setting.field),
            text(setting.field.description or ""),
        )
        for setting in settings()
    ]
    return head[text.language] + _table(columns[text.language], rows)


def _setting_default(field: FieldInfo, text: Texts) -> str:
    if field.is_required():
        return "required" if text.language == "en" else "必填"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or value in ((), "", {}):
        return ""
    if isinstance(value, Path):
        value = value.as_posix()
    return f"`{value}`"


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    said = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    choices = [f"`{value}`" for value in get_args(field.annotation) if isinstance(value, str)]
    patterns = [f"`{rule.pattern}`" for rule in field.metadata if getattr(rule, "pattern", None)]
    return ", ".join(said + choices + patterns)


# Error codes


def codes_page(text: Texts) -> str:
    """Every error code: what it means, what to do, whether it is tried again, who acts."""
    head = {
        "en": "# Error codes\n\nA code names one thing that can be wrong; the same code stands in answers, dead letters, logs"
        " and metrics.\n",
        "zh": "# 错误代码\n\n一个代码对应一种问题；应答、死信、日志和指标里使用同一个代码。\n",
    }
    families = {
        "en": ("contract: the message itself", "mapping: the consultant's tables and rules",
               "accounts: advances, invoices, budgets, periods, corrections", "the ERP's answer",
               "the OA's answer", "order and conflict", "security", "configuration", "operation"),
        "zh": ("契约：消息本身", "映射：顾问维护的表与规则", "账务：借款、发票、预算、期间、更正", "ERP 的应答", "OA 的应答", "次序与冲突", "安全", "配置", "运行"),
    }  # fmt: skip
    who = {
        "en": {"oa": "the OA's people", "consultant": "consultant", "operator": "operator", "it": "IT"},
        "zh": {"oa": "OA 方", "consultant": "顾问", "operator": "操作员", "it": "IT"},
    }
    columns = {
        "en": ("code", "title", "meaning", "what to do", "tried again by itself", "who acts"),
        "zh": ("代码", "标题", "含义", "处理办法", "自动重试", "负责人"),
    }
    yes_no = {"en": {True: "yes", False: "no"}, "zh": {True: "是", False: "否"}}
    parts = [head[text.language]]
    for family, title in zip(FAMILIES, families[text.language], strict=True):
        rows = [
            (
                f'<a id="{code.name}"></a>{code.name}',
                getattr(code, f"title_{text.language}"),
                getattr(code, f"meaning_{text.language}"),
                getattr(code, f"fix_{text.language}"),
                yes_no[text.language][code.retried],
                who[text.language][code.who],
            )
            for code in all_codes().values()
            if code.name.startswith(f"{family.upper()}-")
        ]
        parts.append(f"\n## {family.upper()}: {title}\n\n" + _table(columns[text.language], rows))
    return "".join(parts)


# Events


def events_page(text: Texts) -> str:
    """Every event type, and the fields of its data."""
    head = {
        "en": "# Events\n\nEvery event is a CloudEvents 1.0 message in structured JSON.\n`subject` is the number of the"
        " document, `sequence` its version as text, `partitionkey` is `company/number`, `source` is"
        " `/oa/<adapter>/<company>` or `/erp/<adapter>/<company>`.\nAmounts, rates and shares are JSON strings.\nAn unknown"
        " field is refused.\nAn event is at most 256 KiB.\nThe JSON Schemas, the XSD and the AsyncAPI description stand in"
        " `contracts/schema`, one example of a report and of its voucher in `contracts/examples`.\n\nOnly an OA tells of"
        " expense reports.\nOnly the company's own ERP, as it stands in the settings, tells of vouchers, payments and"
        " periods; a bank's or treasury's payments are told under the ERP's source.\nAdvances and the other records may come"
        " from either, an ERP being one of the settings.\nAnything else becomes a dead letter ([SEC-610](error-codes.md#SEC-610)).\n"
        "HTTP, webhooks and watched folders hear OAs only ([SEC-608](error-codes.md#SEC-608)): what an ERP tells comes from its"
        " adapter, over the broker, or with `oaerp publish`.\n",
        "zh": "# 事件\n\n每个事件都是结构化 JSON 的 CloudEvents 1.0 消息。\n`subject` 是单据号，`sequence` 是以文本表示的版本，"
        "`partitionkey` 是 `公司/单据号`，`source` 是 `/oa/<适配器>/<公司>` 或 `/erp/<适配器>/<公司>`。\n"
        "金额、汇率和比例都是 JSON 字符串。\n未知字段会被拒绝。\n单个事件不超过 256 KiB。\n"
        "JSON Schema、XSD 和 AsyncAPI 描述在 `contracts/schema`，报销单及其凭证的示例在 `contracts/examples`。\n\n"
        "报销单只能由 OA 告知。\n凭证、付款与会计期间只能由设置中该公司自己的 ERP 告知；银行或资金系统的付款以该 ERP 的来源告知。\n"
        "借款和其他记录两边都可告知，其中 ERP 须在设置中。\n其余一律成为死信（[SEC-610](error-codes.md#SEC-610)）。\n"
        "HTTP、Webhook 和受监视的文件夹只听 OA（[SEC-608](error-codes.md#SEC-608)）：ERP 的事件来自其适配器、消息中间件或 `oaerp publish`。\n",
    }
    columns = {"en": ("field", "required"), "zh": ("字段", "必填")}
    yes_no = {"en": ("yes", ""), "zh": ("是", "")}
    parts = [head[text.language]]
    for entry in CATALOGUE.values():
        rows = [
            (f"`{name}`", yes_no[text.language][0 if field.is_required() else 1])
            for name, field in entry.data.model_fields.items()
        ]
        schema = f"[`{entry.type}.json`](../../../contracts/schema/{entry.type}.json)"
        stop = "." if text.language == "en" else "。"
        parts.append(
            f"\n## {entry.type}\n\n{text(entry.title)}{stop}\n{schema}\n\n" + _table(columns[text.language], rows)
        )
    return "".join(parts)


# Expressions


def names(
    known: Mapping[str, Term] = NAMES, prefix: str = "", missing: bool = False
) -> Iterator[tuple[str, Term, bool]]:
    """Everything an expression may name: how it is written, what it is, and whether it may be missing."""
    for name, term in known.items():
        path, optional = f"{prefix}{name}", missing or term.optional
        yield path, term, optional
        if term.model is not None:
            fields = {field: found for field, (found, _) in fields_of(term.model).items()}
            yield from names(fields, f"{path}.", optional)


def expressions_page(text: Texts) -> str:
    """Every operator, function and name of the mapping book's expressions."""
    zh = text.language == "zh"
    limits = (expression_text.CHARACTERS_MAX, expression_text.NODES_MAX, expression_text.DEPTH_MAX)
    head = (
        "# 表达式\n\n映射手册里的 `when`、`account`、`amount` 等条件与计算都用表达式。\n运算为精确的十进制，不使用浮点数；类型在载入手册时检查。\n"
        "一个表达式最多 {} 个字符、{} 个步骤、{} 层。\n可能为空的值先用 `coalesce` 给出替代值，或与 `none` 比较。\n"
        "借款支付或退回的凭证中，`report` 即该借款，视同没有明细的报销单：标题为事由，合计为本位币金额，各日期均为收付日。\n"
        if zh
        else "# Expressions\n\nConditions and calculations of a mapping book (`when`, `account`, `amount`) are expressions."
        "\nThey count in exact decimals, never in floating point; types are checked when the book is read.\n"
        "An expression has at most {} characters, {} steps and {} levels.\n"
        "A value that may be missing is compared with `none`, or replaced by `coalesce`.\n"
        "In the voucher of an advance, paid or given back, `report` is the advance as a report without lines: its title is the "
        "reason, its total the amount in the base currency, its days the day the money moved.\n"
    ).format(*limits)
    titles = ("运算符", "函数", "名称") if zh else ("Operators", "Functions", "Names")
    columns: tuple[tuple[str, ...], ...] = (
        (("写法", "含义"), ("写法", "含义"), ("名称", "类型", "可能为空", "币种", "取值"))
        if zh
        else (("written", "meaning"), ("written", "meaning"), ("name", "kind", "may be missing", "currency", "values"))
    )
    rows: tuple[list[tuple[str, ...]], ...] = (
        [(f"`{written}`", text(meaning)) for written, meaning in OPERATORS.items()],
        [(f"`{signature.usage}`", text(FUNCTION_MEANINGS[name])) for name, signature in FUNCTIONS.items()],
        [
            (f"`{path}`", text(term.kind), text("yes" if missing else ""), text(_currency(path)), _choices(term))
            for path, term, missing in names()
        ],
    )
    return head + "".join(
        f"\n## {title}\n\n{_table(column, row)}" for title, column, row in zip(titles, columns, rows, strict=True)
    )


OPERATORS: Mapping[str, str] = {
    "a == b": "equal",
    "a != b": "not equal",
    "a < b": "below; for numbers, dates, times and texts",
    "a <= b": "at most",
    "a > b": "above",
    "a >= b": "at least",
    "a < b < c": "both comparisons hold",
    'a in ["x", "y"]': "one of fixed values",
    'a not in ["x", "y"]': "none of fixed values",
    "a and b": "both hold",
    "a or b": "one of them holds",
    "not a": "does not hold",
    "a + b": "the sum; of texts, one behind the other",
    "a - b": "the difference",
    "-a": "the number with the other sign",
    "a * b": "the product; an amount times its rate is in the report's currency",
    "a / b": "the quotient, only inside round()",
    "x if a else y": "x where a holds, else y",
    'true, false, none, 12.50, "text"': "fixed values",
}
FUNCTION_MEANINGS: Mapping[str, str] = {
    "round": "rounded half up to so many decimals; what is inside is exact, divisions too",
    "min": "the smallest of 2 to 20 numbers or dates",
    "max": "the largest of 2 to 20 numbers or dates",
    "abs": "the number without its sign",
    "len": "how many characters a text has, or entries a list",
    "lower": "the text in small letters",
    "upper": "the text in capital letters",
    "startswith": "whether the text begins so",
    "endswith": "whether the text ends so",
    "contains": "whether the text has this part",
    "day": "the day of the month of a date",
    "month": "the month of a date, 1 to 12",
    "year": "the year of a date",
    "days": "how many days lie between two dates",
    "date": "a fixed date",
    "coalesce": "the first of 2 to 20 values that is there",
}


def _currency(path: str) -> str:
    unit = UNITS.get(path, "")
    if unit.endswith(" rate"):
        return "rate into the report's"
    return f"of the {unit}" if unit else ""


def _choices(term: Term) -> str:
    few = len(term.choices) <= CHOICES_MAX
    return ", ".join(f"`{choice}`" for choice in term.choices) if few else "ISO 4217"


CHOICES_MAX = 20


# Writing

PAGES: Mapping[str, Callable[[Texts], str]] = {
    "commands": commands_page,
    "settings": settings_page,
    "error-codes": codes_page,
    "events": events_page,
    "expressions": expressions_page,
}


def pages() -> dict[Path, str]:
    """Every generated page by its path under docs/. Raises Missing where a Chinese text is missing."""
    made: dict[Path, str] = {}
    missing: list[str] = []
    for language in LANGUAGES:
        text = load_texts(language)
        for name, page in PAGES.items():
            made[Path(language, "reference", f"{name}.md")] = page(text)
        missing += text.missing
    if missing:
        raise Missing("\n".join(f'"{english}": ""' for english in missing))
    return made


def _table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [tuple(columns), tuple("---" for _ in columns), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(content: str) -> str:
    return content.replace("|", "\\|").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 all well, 1 stale pages or missing Chinese texts, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a committed page is not what the code gives")
    chosen = parser.parse_args(arguments)
    try:
        made = pages()
    except Missing as missing:
        where = "workers/cli/help_texts.py (commands) or docs/zh/texts.yaml"
        print(f"{where} lacks the Chinese of:\n{missing}", file=sys.stderr)  # noqa: T201
        return 1
    stale = [path for path, text in made.items() if not _is_fresh(HERE / path, text)]
    if chosen.check:
        for path in stale:
            print(f"docs/{path.as_posix()} is stale; run make docs", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for path in stale:
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_text(made[path], "utf-8")
    return 0


def _is_fresh(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())

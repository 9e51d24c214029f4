"""An expression as text: read into a tree within all limits, or refused at the column where it is wrong."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Mapping

CHARACTERS_MAX = 500
NODES_MAX = 200
DEPTH_MAX = 30


class Fault(Exception):
    """What is wrong at a column of an expression, and how to mend it."""

    def __init__(self, column: int, expected: str, got: str, fix: str) -> None:
        super().__init__(expected)
        self.column, self.expected, self.got, self.fix = column, expected, got, fix


def parse(source: str) -> ast.expr:
    """The tree of an expression within all limits; whatever Python's parser would only warn about is refused before it."""
    if len(source) > CHARACTERS_MAX:
        raise Fault(
            CHARACTERS_MAX + 1, f"at most {CHARACTERS_MAX} characters", str(len(source)), "say it in the tables instead"
        )
    unquoted = QUOTED.sub(lambda found: '"' + " " * (len(found[0]) - 2) + '"', source)
    strange = _STRANGE.search(unquoted)
    if strange is not None:
        raise Fault(
            strange.start() + 1,
            "letters a-z, digits and signs outside quotes",
            _shown(strange[0]),
            _how_to_mend(strange[0]),
        )
    if "\\" in source:
        raise Fault(source.index("\\") + 1, "text without backslashes", "\\", "write the letter itself")
    plain = source.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    indent = len(plain) - len(plain.lstrip())
    if indent == len(plain):
        raise Fault(1, "an expression", "nothing", "write one, or leave the key out")
    try:
        body = ast.parse(plain[indent:], mode="eval").body
    except SyntaxError as error:
        # Python says where; the words are its own.
        raise Fault(
            min((error.offset or 1) + indent, len(source)), "an expression", error.msg,
            'text stands in quotes; compare with ==; join conditions with and, or, not',
        ) from None  # fmt: skip
    except (ValueError, MemoryError, RecursionError):
        raise Fault(1, "an expression", "something unreadable", "write it anew") from None
    if indent:
        for part in ast.walk(body):
            if isinstance(part, ast.expr):
                part.col_offset += indent
                part.end_col_offset = (part.end_col_offset or 0) + indent
    _measure(body)
    return body


def _measure(body: ast.expr) -> None:
    level: list[ast.expr] = [body]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            limit = f"at most {NODES_MAX} parts, {DEPTH_MAX} deep"
            raise Fault(1, limit, "more", "make several rules of it, or say it in the tables")
        level = [inner for part in level for inner in ast.iter_child_nodes(part) if isinstance(inner, ast.expr)]


QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
# What people write who know another language, and what it is here.
_SLIPS: Mapping[str, str] = {
    "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "!==": "!=", "===": "==", "=<": "<=", "=>": ">=", "<>": "!=",
}  # fmt: skip
# Outside quotes: those slips, letters that are not ASCII, a comment (it would swallow the next line), =, a code (no name has
# a digit in it), and a number with a letter at its end, a leading zero, or no digit before its point.
_STRANGE = re.compile(
    r"&&?|\|\|?|!==|!(?!=)|===|=[<>]|<>|[^\x20-\x7e\t\r\n]|#|(?<![=!<>:])=(?!=)|[A-Za-z_]+[0-9]\w*"
    r"|[0-9.]*[0-9][A-Za-z_]|(?<![0-9.])0[0-9]+|(?<![0-9])\.[0-9]",
    re.ASCII,
)


def _how_to_mend(strange: str) -> str:
    if strange in _SLIPS:
        return f"write {_SLIPS[strange]}"
    if strange == "=":
        return "compare with =="
    if strange == "#":
        return "put text in quotes; notes stand above the rule"
    if strange[0].isascii():
        return "write numbers with plain digits and a point; put codes in quotes"
    if strange in "“”‘’":
        return "write straight quotes"
    if unicodedata.category(strange) in ("Cf", "Zs", "Zl", "Zp"):
        return "remove it"
    if unicodedata.normalize("NFKC", strange).isascii():
        return "write it in half width"
    return "write names with letters a-z; put text in quotes"


def _shown(strange: str) -> str:
    """A letter with its name, where another one looks like it or none is seen."""
    name = "" if strange.isascii() else unicodedata.name(strange, "")
    return repr(strange) if not name or name.startswith("CJK") else f"{strange!r} ({name})"

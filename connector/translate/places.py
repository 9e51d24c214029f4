"""Where something of a table stands, as a person finds it: a line of a file, or a cell of a sheet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InFile:
    """Places of a text file, `accounts.csv:7`: its lines."""

    file: str

    def row(self, number: int) -> str:
        """The place of a row, counted from 1, the header included."""
        return f"{self.file}:{number}"

    def cell(self, number: int, column: int) -> str:
        """The place of a value: its line. Columns are counted from 0."""
        return self.row(number)


@dataclass(frozen=True, slots=True)
class InSheet:
    """Places of a sheet of a workbook, `book.xlsx!accounts!7` and `book.xlsx!accounts!B7`."""

    file: str
    sheet: str

    def row(self, number: int) -> str:
        """The place of a row, counted from 1, the header included."""
        return f"{self.file}!{self.sheet}!{number}"

    def cell(self, number: int, column: int) -> str:
        """The place of a cell. Columns are counted from 0."""
        return f"{self.file}!{self.sheet}!{_letters(column)}{number}"


Places = InFile | InSheet


def _letters(column: int) -> str:
    name = ""
    column += 1
    while column:
        column, place = divmod(column - 1, 26)
        name = chr(ord("A") + place) + name
    return name

"""The file ledger keeps what every ERP adapter promises, whatever document it is handed and however it is taken back."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest

from connector.adapter import Adapter
from connector.erp.file_ledger import FileLedger
from connector.settings import System
from connector.testing.conformance import ErpConformance, ErpRig


def live_in(folder: Path, reference: str) -> int:
    """Counts from the journal's bytes: postings with the reference, less those taken back."""
    journal = folder / "journal.jsonl"
    records = [json.loads(line) for line in journal.read_bytes().splitlines()] if journal.exists() else []
    posted = sum(record["reference"] == reference for record in records)
    return posted - sum(record["reverses"] == reference for record in records)


class FileLedgerConformance(ErpConformance):
    over_http = False
    options: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def rig(self, tmp_path: Path) -> ErpRig:
        folder, accounts = tmp_path / "books", tmp_path / "accounts.txt"
        accounts.write_text("660201\n224101\n")

        def open_ledger() -> Adapter:
            options = {"path": str(folder), "closed_until": "2026-03-31", "accounts": str(accounts), **self.options}
            return FileLedger(System(adapter="file", company="C01", options=options))

        return ErpRig(make=open_ledger, live=lambda reference: live_in(folder, reference), closed_day=date(2026, 3, 31))


class TestVouchers(FileLedgerConformance):
    features = FileLedger.features


class TestSwappedVouchers(FileLedgerConformance):
    features = FileLedger.features
    options: ClassVar[dict[str, str]] = {"red_letter": "swapped"}


class TestPayableBills(FileLedgerConformance):
    features = FileLedger.features
    options: ClassVar[dict[str, str]] = {"target": "payable_bill"}


class TestSwappedPayableBills(FileLedgerConformance):
    features = FileLedger.features
    options: ClassVar[dict[str, str]] = {"target": "payable_bill", "red_letter": "swapped"}


class TestExpenseDocuments(FileLedgerConformance):
    features = FileLedger.features
    options: ClassVar[dict[str, str]] = {"target": "expense_document"}


class TestSwappedExpenseDocuments(FileLedgerConformance):
    features = FileLedger.features
    options: ClassVar[dict[str, str]] = {"target": "expense_document", "red_letter": "swapped"}

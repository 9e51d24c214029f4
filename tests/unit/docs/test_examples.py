"""What the pages tell people to type is run as it stands there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.channels.amqp import AmqpChannel
from connector.ledger import Ledger, outbox
from connector.settings import Consumer, Settings
from docs import generate
from tests.unit.docs.test_pages import blocks

ROOT = Path(__file__).parents[3]
REPORT = (ROOT / "contracts" / "examples" / "expense-report-approved.case-a.json").read_bytes()
LANGUAGES = pytest.mark.parametrize("language", generate.LANGUAGES)


def run(code: str, **names: Any) -> dict[str, Any]:
    """Runs what a page shows; gives the names it left."""
    exec(compile(code, "<example>", "exec"), names)
    return names


@LANGUAGES
def test_the_library_publishes_in_the_callers_transaction(language: str, tmp_path: Path) -> None:
    library = blocks(ROOT / "docs" / language / "how-to" / "publish-from-your-oa.md", "python")[0]
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(url)
    ledger.upgrade()

    left = run(library, LEDGER_URL=url, REPORT=REPORT)
    left["engine"].dispose()  # The page's program would keep it until it ends.

    with ledger.begin() as tx:
        rows = outbox.claim(tx, 10, 30, 1800)
    ledger.close()
    assert [row.type for row in rows] == ["expense.report.approved.v1"]


@LANGUAGES
def test_any_amqp_client_publishes_to_the_exchange(language: str) -> None:
    client = blocks(ROOT / "docs" / language / "how-to" / "publish-from-your-oa.md", "python")[1]
    channel = AmqpChannel("memory://", "oaerp", Consumer())
    channel.declare()

    run(client, BROKER_URL="memory://", REPORT=REPORT)

    messages = channel.receive(10, 0.1)
    channel.ack(messages)
    channel.close()
    assert [json.loads(message.body) for message in messages] == [json.loads(REPORT)]


@LANGUAGES
@pytest.mark.parametrize("page", ["publish-from-your-oa", "connect-tryton", "connect-cubicweb"])
def test_settings_in_a_page_are_accepted(language: str, page: str) -> None:
    shown = blocks(ROOT / "docs" / language / "how-to" / f"{page}.md", "yaml")

    assert shown
    for text in shown:
        Settings(**yaml.safe_load(text))

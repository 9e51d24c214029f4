"""The demo: 30 reports of a simulated OA through the embedded default into a file ledger, and the proof that totals agree."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import yaml
from sqlalchemy import text

from connector.adapter import Change
from connector.bootstrap import Runtime, open_runtime
from connector.erp.file_ledger import FileLedger
from connector.ledger import deadletters
from connector.process.intake import accept, refuse
from connector.settings import load
from connector.testing.oa_simulator import Story, tell_story
from contracts import Refused, parse_event
from contracts.voucher import Voucher, parse_voucher
from workers.embedded import running

COMPANY = "C01"
REPORTS, BROKEN = 30, 3
WAVES = 3
DEADLINE_S = 60
MARKER = "oaerp.yaml"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it: the live vouchers, the open dead letters, and the three totals that must agree."""

    home: Path
    vouchers: Sequence[tuple[str, Voucher]]  # number in the ERP, voucher
    letters: Sequence[Any]
    expected: Decimal
    ledger: Decimal
    erp: Decimal
    differences: Sequence[str]
    sent: int
    seconds: float

    @property
    def agree(self) -> bool:
        """True where everything is as the OA simulator says it must be."""
        return not self.differences and self.expected == self.ledger == self.erp and len(self.letters) == BROKEN


def prepare(home: Path) -> None:
    """An empty home with its own settings file. Refuses to clear a folder that is not a demo's."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file() or "demo" not in (home / MARKER).read_text("utf-8"):
            raise FileExistsError(0, "not an old demo; choose another --home", str(home))
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()  # so that the commands it ends with work from any folder
    systems = {
        "home": str(home),
        "erp": [{"adapter": "file", "company": COMPANY, "options": {"path": str(home / "erp")}}],
        "oa": [{"adapter": "simulator", "company": COMPANY, "options": {"path": str(home / "oa")}}],
    }
    (home / MARKER).write_text("# Settings of the demo.\n" + yaml.safe_dump(systems, allow_unicode=True), "utf-8")


def perform(home: Path, at: Callable[[int, int], None], *, seed: int = 1) -> DemoResult:
    """Runs the demo in `home`; `at(done, total)` is told how far it is. Raises TimeoutError where it does not come to rest."""
    started = time.monotonic()
    prepare(home)
    story = tell_story(REPORTS, seed=seed, broken=BROKEN, company=COMPANY)
    runtime = open_runtime(load(home / MARKER))
    try:
        runtime.ledger.upgrade()
        with running(runtime):
            # In three waves, so that changes also meet what is posted already.
            for wave in range(WAVES):
                upto = len(story.sent) * (wave + 1) // WAVES
                for sent in story.sent[len(story.sent) * wave // WAVES : upto]:
                    _publish(runtime, sent.body)
                _wait(runtime, upto, len(story.sent), at)
        return _result(runtime, story, home, started)
    finally:
        runtime.close()


def _publish(runtime: Runtime, body: bytes) -> None:
    """By the door an OA would use: what is wrong is refused there, with its bytes kept."""
    try:
        event = parse_event(body)
    except Refused as refused:
        refuse(runtime.ledger, body, "demo", refused.findings)
    else:
        accept(runtime.ledger, [Change(event, body)], "demo")


def _wait(runtime: Runtime, sent: int, total: int, at: Callable[[int, int], None]) -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        with runtime.ledger.begin() as tx:
            waiting = int(tx.scalar(text(_WAITING)) or 0)
        at(max(0, sent - waiting), total)
        if waiting == 0:
            return
        time.sleep(0.1)
    raise TimeoutError


_WAITING = (
    "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM inbox WHERE outcome IN ('held', 'released'))"
    " + (SELECT count(*) FROM postings WHERE state IN ('PENDING', 'SENDING', 'UNKNOWN'))"
    " + (SELECT count(*) FROM write_backs WHERE state IN ('PENDING', 'SENDING'))"
)


def _result(runtime: Runtime, story: Story, home: Path, started: float) -> DemoResult:
    erp = runtime.erp[COMPANY]
    assert isinstance(erp, FileLedger)
    live = _live(erp)
    with runtime.ledger.begin() as tx:
        rows = tx.execute(text("SELECT voucher FROM postings WHERE purpose = 'post' AND state = 'POSTED'")).all()
        letters = deadletters.find(tx, deadletters.Filter())
    ledger = sum((parse_voucher(bytes(row.voucher)).total_debit for row in rows), Decimal(0))
    totals: Mapping[str, list[Decimal]] = defaultdict(list)
    for _, voucher in live:
        totals[voucher.document.number].append(voucher.total_debit)
    return DemoResult(
        home=home,
        vouchers=live,
        letters=letters,
        expected=story.total,
        ledger=ledger,
        erp=sum((voucher.total_debit for _, voucher in live), Decimal(0)),
        differences=story.differences(totals),
        sent=len(story.sent),
        seconds=time.monotonic() - started,
    )


def _live(erp: FileLedger) -> list[tuple[str, Voucher]]:
    """Vouchers that count: posted and not taken back, read from the ERP's own journal."""
    records = erp.vouchers()
    taken_back = {record["reverses"] for record in records}
    live = [record for record in records if not record["reverses"] and record["reference"] not in taken_back]
    return [(record["number"], parse_voucher(orjson.dumps(record["voucher"]))) for record in live]

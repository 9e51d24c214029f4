"""Two embedded runtimes in one process book each into its own ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from connector.bootstrap import Runtime, open_runtime
from connector.oa.door import into_ledger, take
from connector.oa.reading import read_file
from connector.settings import Settings, System
from tests.support.wait import until
from tests.unit.doors.samples import body
from workers.embedded import running


@pytest.fixture
def runtimes(tmp_path: Path) -> Iterator[list[Runtime]]:
    with ExitStack() as stack:
        opened = []
        for name in ("north", "south"):
            home = tmp_path / name
            erp = System(adapter="file", company="C01", options={"path": str(home / "erp")})
            runtime = open_runtime(Settings(home=home, prefix=name, erp=(erp,)))
            stack.callback(runtime.close)
            runtime.ledger.upgrade()
            opened.append(runtime)
        yield opened


def posted(runtime: Runtime) -> list[str]:
    with runtime.ledger.begin() as tx:
        return list(tx.scalars(text("SELECT reference FROM postings WHERE state = 'POSTED'")))


def test_each_books_into_its_own_ledger(runtimes: list[Runtime]) -> None:
    north, south = runtimes
    with running(north), running(south):
        for runtime, number in ((north, "EXP-1"), (south, "EXP-2")):
            accept, _ = into_ledger(runtime.ledger)
            pieces = read_file("one.json", body(number), company="C01", adapter="file")
            assert [taken.status for taken in take(pieces, accept, "publish")] == ["accepted"]

        until(lambda: posted(north) and posted(south), 30, lambda: f"{posted(north)} {posted(south)}")

    assert (posted(north), posted(south)) == (["C01-EXP-1-V1"], ["C01-EXP-2-V1"])

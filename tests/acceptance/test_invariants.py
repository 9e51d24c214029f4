"""Nothing lost, nothing doubled: 2 000 documents against an ERP that drops answers, refuses, limits and dawdles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from connector.bootstrap import open_runtime
from connector.settings import Delivery, Outbox, Retry, Settings
from connector.settings import System as SystemSettings
from connector.testing.erp_simulator import ErpSimulator, FaultPlan
from tests.acceptance.system import System
from tests.acceptance.traffic import Traffic, traffic
from tests.support.servers import Broker
from tests.support.wait import until
from workers.embedded import running

DOCUMENTS = 2_000
DEADLINE_S = 900
FAULTS = FaultPlan(
    {
        "drop_after_commit": 0.30,
        "error_500": 0.05,
        "error_503": 0.05,
        "limit_429": 0.05,
        "slow": 0.05,
        "drop_then_commit": 0.03,
    },
    seed=7,
)
# Longer than the simulator ever works on a call it did not answer, however busy the machine is.
SETTLE_S, SLOW_S = 3.0, 0.3
LEASE_S = 60  # No call begins in its second half, and none takes so long.

pytestmark = [pytest.mark.slow, pytest.mark.timeout(DEADLINE_S + 60)]


@pytest.fixture
def erp() -> Iterator[ErpSimulator]:
    with ErpSimulator(FAULTS, slow_s=SLOW_S, retry_after_s=1) as simulator:
        yield simulator


def erp_settings(erp: ErpSimulator) -> dict[str, object]:
    return {
        "adapter": "simulator",
        "company": "C01",
        "url": erp.url,
        "password": ErpSimulator.password,
        "options": {"batch": "20", "timeout_s": "20"},
    }


def check(erp: ErpSimulator, sent: Traffic, count: Callable[[str], int]) -> None:
    """The simulator's own journal is the oracle."""
    erp.settled()
    live = {entry.voucher.reference: entry.voucher.total_debit for entry in erp.live()}
    lost = sorted(set(sent.expected) - set(live))
    extra = sorted(set(live) - set(sent.expected))
    wrong = {reference for reference in set(live) & set(sent.expected) if live[reference] != sent.expected[reference]}
    doubled = erp.duplicates()
    print(
        f"documents={sent.documents} events={len(sent.events)} calls={erp.met['calls']}"
        f" answers dropped={erp.met['drop_after_commit'] + erp.met['drop_then_commit']}"
        f" lost={len(lost)} doubled={len(doubled)} extra={len(extra)} wrong={len(wrong)}"
    )
    assert (lost, extra, wrong, doubled) == ([], [], set(), {})
    assert erp.total() == sum(sent.expected.values(), Decimal(0))
    assert count("SELECT count(*) FROM dead_letters WHERE state = 'open'") == 0
    assert count("SELECT count(*) FROM postings WHERE state IN ('PENDING', 'SENDING', 'UNKNOWN', 'REJECTED')") == 0


def test_nothing_is_lost_or_doubled_on_sqlite_and_the_embedded_broker(erp: ErpSimulator, tmp_path: Path) -> None:
    sent = traffic(DOCUMENTS, seed=1)
    settings = Settings(
        home=tmp_path,
        erp=(SystemSettings.model_validate(erp_settings(erp)),),
        delivery=Delivery(settle_s=SETTLE_S, tick_s=0.5, lease_s=LEASE_S),
        retry=Retry(ledger_wait_s=0.2, ledger_attempts=30),
        outbox=Outbox(idle_s=0.05),
    )
    runtime = open_runtime(settings)
    system = System({"OAERP_LEDGER_URL": settings.ledger}, tmp_path)

    with running(runtime):
        system.accept(sent.events)
        until(
            system.quiet,
            DEADLINE_S,
            lambda: str(system.rows("SELECT state, count(*) FROM postings GROUP BY state")),
            0.5,
        )

    check(erp, sent, system.count)
    system.close()
    runtime.close()


@pytest.mark.parametrize("broker", ["rabbitmq", "redis_server"])
def test_nothing_is_lost_or_doubled_on_postgresql(
    request: pytest.FixtureRequest,
    broker: str,
    erp: ErpSimulator,
    fresh_postgres_url: Callable[[], str],
    tmp_path: Path,
) -> None:
    found: Broker = request.getfixturevalue(broker)
    sent = traffic(DOCUMENTS, seed=2)
    system = System(
        {
            "OAERP_LEDGER_URL": fresh_postgres_url(),
            "OAERP_BROKER_URL": found.url,
            "OAERP_PREFIX": f"{found.prefix}inv",
            "OAERP_ERP": json.dumps([erp_settings(erp)]),
            "OAERP_DELIVERY__SETTLE_S": str(SETTLE_S),
            "OAERP_DELIVERY__TICK_S": "0.5",
            "OAERP_DELIVERY__LEASE_S": str(LEASE_S),
            "OAERP_RETRY__LEDGER_WAIT_S": "0.2",
            "OAERP_RETRY__LEDGER_ATTEMPTS": "30",
            "OAERP_LOG_LEVEL": "WARNING",
        },
        tmp_path,
    )
    try:
        system.accept(sent.events)
        for command in ("worker", "worker", "relay", "relay", "beat"):
            system.start(command)
        until(system.quiet, DEADLINE_S, system.logs, 0.5)
        check(erp, sent, system.count)
    finally:
        system.close()

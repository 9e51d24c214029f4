"""What /metrics tells about the ledger, asked at each scrape; cheap at any size, never a document number as a label."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from connector.ledger import Ledger
from connector.ledger.sql import now
from connector.ledger.tables import dead_letters, outbox, postings, write_backs

_OPEN = ("PENDING", "SENDING", "UNKNOWN")


def ledger_gauges(ledger: Ledger) -> Iterator[Metric]:
    """Age and number of events that wait, postings and write-backs that are not settled, open dead letters by code.
    Raises SQLAlchemyError where the ledger is away."""
    with ledger.begin() as tx:
        oldest, clock, count = tx.execute(select(func.min(outbox.c.created_at), now(), func.count(outbox.c.id))).one()
        letters = tx.execute(
            select(dead_letters.c.code, func.count())
            .where(dead_letters.c.state == "open")
            .group_by(dead_letters.c.code)
        ).all()
        unsettled = tx.execute(
            select(postings.c.state, func.count()).where(postings.c.state.in_(_OPEN)).group_by(postings.c.state)
        ).all()
        status = tx.execute(
            select(write_backs.c.state, func.count())
            .where(write_backs.c.state.in_(_OPEN[:2]))
            .group_by(write_backs.c.state)
        ).all()
    age_s = (clock - oldest).total_seconds() if oldest is not None else 0
    yield GaugeMetricFamily("oaerp_outbox_oldest_seconds", "Age of the oldest event nobody recorded yet", max(age_s, 0))
    yield GaugeMetricFamily("oaerp_outbox_events", "Events on their way to the broker", count)
    yield _by_label("oaerp_dead_letters", "Open dead letters", "code", dict(letters))
    yield _by_label("oaerp_postings", "Postings not settled", "state", dict.fromkeys(_OPEN, 0) | dict(unsettled))
    yield _by_label("oaerp_write_backs", "Status not written back", "state", dict.fromkeys(_OPEN[:2], 0) | dict(status))
    build = GaugeMetricFamily("oaerp_build_info", "What runs here", labels=["version"])
    build.add_metric([version("oa-erp-connector")], 1)
    yield build


def _by_label(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family

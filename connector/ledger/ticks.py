"""Turns of scheduled work: whoever writes the row of a turn runs it, the others do not."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection

KEPT_TURNS = 1000


def take(tx: Connection, job: str, every_s: float) -> bool:
    """True for exactly one caller in each turn of `every_s` seconds, on the database's clock."""
    seconds = (
        "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
        if tx.dialect.name == "postgresql"
        else "((julianday('now') - 2440587.5) * 86400.0)"
    )
    turn = int(tx.scalar(text(f"SELECT CAST(floor({seconds} / :every) AS bigint)"), {"every": every_s}) or 0)
    taken = tx.scalar(
        text("INSERT INTO ticks (job, slot, worker) VALUES (:job, :turn, '') ON CONFLICT DO NOTHING RETURNING 1"),
        {"job": job, "turn": turn},
    )
    if taken:
        tx.execute(text("DELETE FROM ticks WHERE job = :job AND slot < :old"), {"job": job, "old": turn - KEPT_TURNS})
    return bool(taken)

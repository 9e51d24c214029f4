"""Watches a folder: one scan after another until told to stop; while the ledger or the folder is away it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from connector.errors import Unavailable
from connector.oa.door import Accept, Refuse
from connector.oa.folder import ScanResult, scan
from connector.settings import Folder

TICK_S = 1.0
WAIT_MAX_S = 60.0

log = structlog.get_logger(__name__)


def watch(
    folder: Folder,
    accept: Accept,
    refuse: Refuse,
    stop: threading.Event,
    *,
    tick_s: float = TICK_S,
    scanned: Callable[[ScanResult], None] | None = None,
) -> None:
    """Scans until `stop` is set, and returns between two files' scans. `scanned` is told each result."""
    wait_s = tick_s
    while not stop.is_set():
        try:
            result = scan(folder, accept, refuse, datetime.now(UTC))
            wait_s = tick_s
            for file in result.files:
                log.info("file_read", folder=str(folder.path), file=file.name, status=file.status, **file.counts)
            if scanned is not None:
                scanned(result)
        except (OSError, SQLAlchemyError, Unavailable) as error:
            wait_s = min(wait_s * 2, WAIT_MAX_S)
            log.warning("folder_waits", folder=str(folder.path), error=str(error)[:300], wait_s=wait_s)
        stop.wait(wait_s)

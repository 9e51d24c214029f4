"""How long it takes to make a voucher of a report, rules compiled once: `python -m benchmarks.compile`.

The report has six lines: hotel with a special invoice, rail, air, a meal, a taxi and supplies, against an advance.
Medians of many rounds on one core; the trace is what an explanation of every line costs on top.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.report import six_lines
from connector.translate import Refusal, load_book, to_voucher
from connector.translate.trace import explain
from contracts import parse_event
from contracts.expense import ExpenseReport
from contracts.voucher import to_json

ROUNDS = 300
CALLS = 100


def main() -> None:
    """Prints microseconds a call."""
    body = six_lines()
    report = parse_event(body).data
    assert isinstance(report, ExpenseReport)
    book = load_book()
    voucher = to_voucher(report, book)
    assert not isinstance(voucher, Refusal), voucher
    steps: dict[str, Callable[[], object]] = {
        "parse the event": lambda: parse_event(body),
        "compile the voucher": lambda: to_voucher(report, book),
        "compile it with its trace": lambda: explain(report, book),
        "write the voucher as JSON": lambda: to_json(voucher),
    }
    print(f"{len(report.lines)} report lines -> {len(voucher.lines)} voucher lines, book {book.name}")
    for name, call in steps.items():
        print(f"{name:28} {_median_us(call):7.1f} us")


def _median_us(call: Callable[[], object]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter() - started) / CALLS * 1e6)
    return statistics.median(rounds)


if __name__ == "__main__":
    main()

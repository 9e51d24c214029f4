"""What the conformance suites share: rigs that open adapters and close them, and cases chosen by declared features."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from connector.adapter import Adapter, Change, Features, Outcome, Receipt
from connector.errors import ConnectorError


@dataclass(slots=True, kw_only=True)
class Rig:
    """Opens adapters and closes them all at its end. `make(url=..., password=...)` overrides what the rig would give."""

    make: Callable[..., Adapter]
    opened: list[Adapter] = field(default_factory=list)

    def open(self, **overrides: str) -> Adapter:
        """An adapter of its own, as another process would have it."""
        adapter = self.make(**overrides)
        self.opened.append(adapter)
        return adapter

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for adapter in self.opened:
            adapter.close()


def needs(wanted: Callable[[Features], bool]) -> Callable[[Any], Any]:
    """Marks a case that only adapters with such features run."""

    def mark(case: Any) -> Any:
        case.needs = wanted
        return case

    return mark


class Suite:
    """Leaves out the cases a subclass's features do not call for, when the subclass is made."""

    features: ClassVar[Features]
    over_http: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "features"):
            return
        for name in dir(cls):
            case = getattr(cls, name)
            if not name.startswith("test_") or case is None:
                continue
            called_for = getattr(case, "needs", lambda _: True)(cls.features)
            if not called_for or (getattr(case, "http", False) and not cls.over_http):
                setattr(cls, name, None)


def over_http(case: Any) -> Any:
    """Marks a case that needs `rig.faults`."""
    case.http = True
    return case


def posted(answer: Receipt | Outcome) -> Receipt:
    """The receipt, which says posted; anything else fails with what it says."""
    assert isinstance(answer, Receipt), answer
    assert answer.state == "posted", answer
    return answer


def drained(adapter: Adapter, cursor: str | None) -> tuple[list[Change], str]:
    """Every change since the cursor, and the cursor after them."""
    changes: list[Change] = []
    for _ in range(1000):
        page = adapter.poll(cursor)
        changes += page.changes
        cursor = page.cursor
        if not page.more:
            return changes, cursor
    raise AssertionError("the feed never ends")


def together(run: Callable[[int], None], count: int) -> None:
    """Runs it in so many threads; the first error of one of them rises."""
    errors: list[BaseException] = []

    def guarded(place: int) -> None:
        try:
            run(place)
        except (AssertionError, ConnectorError) as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]

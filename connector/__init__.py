"""The connector library: from a change in one system to its effect in the other, exactly once. Knows no Celery, starts no process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connector.process.intake import publish as publish

__all__ = ["publish"]


def __getattr__(name: str) -> Any:
    # On first use: whoever imports a small part of the library does not load the database layer with it.
    if name == "publish":
        from connector.process.intake import publish

        return publish
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

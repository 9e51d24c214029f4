"""The expressions of a mapping book: conditions and rare arithmetic, exact and safe."""

from __future__ import annotations


class ExpressionFailed(ValueError):
    """An expression that was sound when it was read has no value here: a division by zero, a text too long."""

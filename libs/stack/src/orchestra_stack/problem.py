"""What a person is told when the mesh cannot be started or stopped."""

from __future__ import annotations


class StackError(Exception):
    """One line that says what is wrong and what to do about it."""

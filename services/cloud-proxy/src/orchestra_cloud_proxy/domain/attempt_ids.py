"""Attempt ids: `request id / sample index / attempt`, one ledger entry each."""

from __future__ import annotations


def id_of_sample(attempt_id: str, offset: int) -> str:
    """The id of the sample `offset` places after the one that `attempt_id` names.

    A call for several samples carries the id of its first; each sample has an entry of its own.
    """
    if not offset:
        return attempt_id
    head, _, rest = attempt_id.rpartition("/")
    request, _, index = head.rpartition("/")
    if request and index.isdecimal():
        return f"{request}/{int(index) + offset}/{rest}"
    return f"{attempt_id}+{offset}"


def id_of_try(attempt_id: str, number: int) -> str:
    """The id of a try (from 1) that was given up for a repeat and may have been charged.

    The attempt's own id stays with the try that ends it, since that one is in the provenance.
    """
    return f"{attempt_id}~{number}"

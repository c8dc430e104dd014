"""A share's replay record belongs to its request and its model alone."""

from orchestra_requests.request import MAX_ID
from orchestra_router.flows.plan import _share_id


def test_long_ids_that_differ_anywhere_stay_different() -> None:
    ids = ["a" + "y" * 127, "b" + "y" * 127, "y" * 128, "short", "short/model"]
    made = {_share_id(one, model) for one in ids for model in ("model", "model-2")}
    assert len(made) == len(ids) * 2
    assert all(len(one) <= MAX_ID for one in made)

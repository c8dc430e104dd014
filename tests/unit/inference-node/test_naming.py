"""What an engine refuses is named from the beginning of the request."""

from __future__ import annotations

from orchestra_errors import FieldViolation, InvalidRequest, NotFound
from orchestra_inference_node.rpc.naming import of_generation


def test_every_field_begins_where_the_request_does() -> None:
    error = of_generation(
        InvalidRequest(
            [
                FieldViolation("sampling.grammar", "no"),
                FieldViolation("generation.text", "no"),
                FieldViolation("hop.first_sample_index", "no"),
            ]
        )
    )
    assert isinstance(error, InvalidRequest)
    assert [one.field for one in error.violations] == [
        "generation.sampling.grammar",
        "generation.text",
        "hop.first_sample_index",
    ]


def test_other_errors_stay_as_they_are() -> None:
    error = NotFound("model", "m")
    assert of_generation(error) is error

"""A draw is said to exllamav2 field by field: nothing is left to its defaults."""

from __future__ import annotations

from orchestra_inference_node.adapters.exllamav2.sampling import answer_limit, job_settings, sampler_settings
from orchestra_inference_node.domain.drawing import Draw

PLAIN = Draw((1, 2, 3), seed=7)


def test_a_plain_draw_leaves_the_models_own_distribution() -> None:
    said = sampler_settings(PLAIN)
    assert (said["temperature"], said["top_k"], said["top_p"], said["min_p"]) == (1.0, 0, 1.0, 0.0)
    assert said["token_repetition_penalty"] == 1.0 and said["token_repetition_range"] == -1
    for off in ("token_frequency_penalty", "token_presence_penalty", "top_a", "tfs", "typical", "skew"):
        assert said[off] == 0.0
    for off in ("smoothing_factor", "dry_multiplier", "xtc_probability", "min_temp", "max_temp"):
        assert said[off] == 0.0
    assert not said["mirostat"] and said["token_bias"] is said["cfg_scale"] is None


def test_every_field_of_a_draw_is_said() -> None:
    said = sampler_settings(
        Draw(
            (1,),
            seed=7,
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            min_p=0.1,
            repetition_penalty=1.1,
            presence_penalty=0.2,
            frequency_penalty=0.3,
        )
    )
    changed = {name for name, value in said.items() if value != sampler_settings(PLAIN)[name]}
    assert {name: said[name] for name in changed} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "token_repetition_penalty": 1.1,
        "token_presence_penalty": 0.2,
        "token_frequency_penalty": 0.3,
    }
    # the engine would not look at 1
    assert 0.999999 < sampler_settings(Draw((1,), seed=7, min_p=1.0))["min_p"] < 1


def test_settings_are_no_two_jobs() -> None:
    one, other = sampler_settings(PLAIN), sampler_settings(PLAIN)
    for name in ("post_sampling_hooks", "ngram_history"):
        assert one[name] is not other[name]


def test_a_job_has_its_limit_seed_and_ends() -> None:
    said = job_settings(PLAIN, 10, {5, 2}, draft_tokens=3)
    assert (said["max_new_tokens"], said["seed"], said["stop_conditions"]) == (13, 7, [2, 5])
    assert not said["return_probs"] and said["return_top_tokens"] == 0
    asked = job_settings(Draw((1,), seed=7, logprobs=True, top_logprobs=4), 10, {2}, draft_tokens=0)
    assert asked["return_probs"] and asked["return_top_tokens"] == 4 and asked["max_new_tokens"] == 10


def test_an_answer_ends_at_its_own_limit_or_with_the_context() -> None:
    assert answer_limit(PLAIN, 100) == 97
    assert answer_limit(Draw((1, 2, 3), seed=1, max_tokens=50), 100) == 50
    assert answer_limit(Draw((1, 2, 3), seed=1, max_tokens=500), 100) == 97

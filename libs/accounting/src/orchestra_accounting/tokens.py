"""What tokens cost: pure arithmetic over a row of the price book.

Every component (fresh prompt, cached prompt, cache writes, answer, reasoning) is rounded half up once to
whole nano-dollars, then summed. What is not known is never taken for zero: it makes the cost UNKNOWN, or,
where a dearer rate bounds it, ESTIMATED at that rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from orchestra.generation.v1 import usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.rounding import exact, half_up

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class _Rates:
    """Nano-dollars per million tokens that hold for one length of prompt."""

    input: int | None
    output: int | None
    cached: int | None
    cache_write: int | None
    reasoning: int | None


def cost_of_tokens(
    price: entry_pb2.Price | None, usage: usage_pb2.Usage | None, *, batch_job: bool = False
) -> usage_pb2.Cost:
    """The cost of one attempt at a provider.

    Prompt tokens that the provider wrote to its cache pay the row's cache_write rate instead of input's.
    SETTLED: every count and rate that matters is known. ESTIMATED: cached, cache-write or reasoning tokens,
    their rate or a batch job's factor are not known, so that the dearer rate was charged. UNKNOWN, without
    nanos: no price, no usage, or tokens without a rate.
    """
    version = price.price_version if price is not None else ""
    unknown = usage_pb2.Cost(state=usage_pb2.COST_STATE_UNKNOWN, price_version=version)
    if price is None or usage is None:
        return unknown
    if not (usage.HasField("prompt_tokens") and usage.HasField("completion_tokens")):
        return unknown
    prompt, answer = usage.prompt_tokens, usage.completion_tokens
    rates = _rates(price, prompt)
    factor, factor_known = _factor(price, batch_job)

    read = usage.cached_prompt_tokens if usage.HasField("cached_prompt_tokens") else None
    write = usage.cache_write_tokens if usage.HasField("cache_write_tokens") else None
    written, write_rate, written_known = _part(
        write,
        max(0, prompt - (read or 0)),
        rates.cache_write,
        rates.input,
        charged_alike=rates.cache_write in (None, rates.input),
    )
    cached, cached_rate, cached_known = _part(
        read, prompt - written, rates.cached, rates.input, charged_alike=rates.cached in (None, rates.input)
    )
    thought, thought_rate, thought_known = _part(
        usage.reasoning_tokens if usage.HasField("reasoning_tokens") else None,
        answer,
        rates.reasoning,
        rates.output,
        charged_alike=True if rates.reasoning is None else rates.reasoning == rates.output,
        absent_rate_is_known=True,
    )
    total = 0
    for tokens, rate in (
        (prompt - cached - written, rates.input),
        (cached, cached_rate),
        (written, write_rate),
        (answer - thought, rates.output),
        (thought, thought_rate),
    ):
        if tokens and rate is None:
            return unknown
        total += half_up(Fraction(tokens * (rate or 0), MILLION) * factor)
    known = cached_known and written_known and thought_known and factor_known
    return usage_pb2.Cost(
        state=usage_pb2.COST_STATE_SETTLED if known else usage_pb2.COST_STATE_ESTIMATED,
        nanos=total,
        price_version=version,
    )


def worst_case(
    price: entry_pb2.Price | None, prompt_tokens: int, max_tokens: int | None, *, batch_job: bool = False
) -> int | None:
    """The most nano-dollars that an attempt with at most so many tokens can cost, however they are counted.

    None: the price is not known, or nothing bounds the answer. `cost_of_tokens` of any usage within the
    bounds is never above it.
    """
    if price is None or max_tokens is None:
        return None
    reachable = [price.input_nanos_per_million] if price.HasField("input_nanos_per_million") else []
    answers = [price.output_nanos_per_million] if price.HasField("output_nanos_per_million") else []
    for step in price.steps:
        if step.from_prompt_tokens <= prompt_tokens:
            reachable += [step.input_nanos_per_million] if step.HasField("input_nanos_per_million") else []
            answers += [step.output_nanos_per_million] if step.HasField("output_nanos_per_million") else []
            if step.HasField("cached_input_nanos_per_million"):
                reachable.append(step.cached_input_nanos_per_million)
    if (prompt_tokens and not price.HasField("input_nanos_per_million")) or (
        max_tokens and not price.HasField("output_nanos_per_million")
    ):
        return None
    if price.HasField("cached_input_nanos_per_million"):
        reachable.append(price.cached_input_nanos_per_million)
    if price.HasField("cache_write_nanos_per_million"):
        reachable.append(price.cache_write_nanos_per_million)
    if price.HasField("reasoning_nanos_per_million"):
        answers.append(price.reasoning_nanos_per_million)
    factor, _ = _factor(price, batch_job)
    prompt = _above(prompt_tokens, max(reachable, default=0), factor, components=3)
    return prompt + _above(max_tokens, max(answers, default=0), factor, components=2)


def _above(tokens: int, rate: int, factor: Fraction, components: int) -> int:
    # each component, rounded half up, exceeds what it is exactly by at most half a nano-dollar
    nanos = Fraction(tokens * rate, MILLION) * factor
    return floor(nanos + Fraction(components, 2)) if nanos else 0


def price_at_length(price: entry_pb2.Price, prompt_tokens: int) -> entry_pb2.Price:
    """The row as a prompt of so many tokens pays it: its rates are those of the step, and it has no steps."""
    flat = entry_pb2.Price()
    flat.CopyFrom(price)
    del flat.steps[:]
    for step in sorted(price.steps, key=lambda step: step.from_prompt_tokens):
        if prompt_tokens >= step.from_prompt_tokens:
            for field, rate in step.ListFields():
                if field.name != "from_prompt_tokens":
                    setattr(flat, field.name, rate)
    return flat


def _rates(price: entry_pb2.Price, prompt_tokens: int) -> _Rates:
    if price.steps:
        price = price_at_length(price, prompt_tokens)
    given = price.HasField
    return _Rates(
        price.input_nanos_per_million if given("input_nanos_per_million") else None,
        price.output_nanos_per_million if given("output_nanos_per_million") else None,
        price.cached_input_nanos_per_million if given("cached_input_nanos_per_million") else None,
        price.cache_write_nanos_per_million if given("cache_write_nanos_per_million") else None,
        price.reasoning_nanos_per_million if given("reasoning_nanos_per_million") else None,
    )


def _part(
    count: int | None,
    whole: int,
    rate: int | None,
    rest_rate: int | None,
    *,
    charged_alike: bool,
    absent_rate_is_known: bool = False,
) -> tuple[int, int | None, bool]:
    """Tokens of `whole` that pay `rate`, that rate, and whether both are known.

    An unknown count is charged where it is dearer; an unknown rate is the rest's.
    """
    if count is None:
        if charged_alike or not whole:
            return 0, rest_rate, True
        dearer = rate is not None and (rest_rate is None or rate > rest_rate)
        return (whole if dearer else 0), rate, False
    count = min(count, whole)
    if rate is None:
        return count, rest_rate, absent_rate_is_known or not count
    return count, rate, True


def _factor(price: entry_pb2.Price, batch_job: bool) -> tuple[Fraction, bool]:
    if not batch_job:
        return Fraction(1), True
    if not price.HasField("batch_factor"):
        return Fraction(1), False
    return exact(price.batch_factor), True

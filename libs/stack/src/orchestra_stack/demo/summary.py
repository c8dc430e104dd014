"""What is printed when the demonstration is over."""

from __future__ import annotations

from pathlib import Path

from .tally import Tally

GRPCURL = (
    ".venv/bin/grpcurl -plaintext -d "
    """'{"generation": {"text": "def add(a, b):\\n", "routing": {"model": "smollm2-135m"}, """
    """"sampling": {"max_tokens": 32}}}' """
    "127.0.0.1:50050 orchestra.router.v1.RouterService/Generate"
)
NEXT = (
    ("keep a mesh running", "make up"),
    ("then ask it with grpcurl", GRPCURL),
    (
        "or for different answers",
        ".venv/bin/orchestra diverse -n 4 --max-tokens 48 --text 'def mean(numbers):'",
    ),
)


def lines(tally: Tally, seconds: float, out: Path, trace: tuple[str, str] | None) -> list[str]:
    """The summary, line by line; `trace` is a trace id and the task of that request."""
    speed = tally.drawn_tokens / seconds if seconds > 0 else 0.0
    drawn = (
        f"{tally.drawn_tokens:,} tokens drawn at {speed:.0f} a second"
        if tally.drawn_tokens
        else "none drawn anew"
    )
    found = [
        "",
        f"{tally.samples} samples of {tally.tasks_done} tasks from {len(tally.models)} models "
        f"in {seconds:.0f} s: {drawn}, {dollars(tally.cost_nanos)}",
        "",
        f"  {'model':<16} {'samples':>7} {'from cache':>10} {'distinct':>8} {'tokens':>7} "
        f"{'tokens/s each':>13} {'cost':>12} {'saved':>12}",
    ]
    for name, model in sorted(tally.models.items()):
        pace = f"{model.tokens_per_second:.0f}" if model.tokens_per_second else "-"
        cost = dollars(model.cost_nanos) if model.cost_unknown < model.samples else "unknown"
        found.append(
            f"  {name:<16} {model.samples:>7} {model.from_cache:>10} {model.distinct:>8} {model.tokens:>7,} "
            f"{pace:>13} {cost:>12} {dollars(model.saved_nanos):>12}"
        )
    found += [
        "",
        f"  {tally.equal_texts} samples repeat a text that their model gave for the same task; "
        f"no draw was counted twice",
        "",
        f"  every sample   {out / 'samples.jsonl'}",
        f"  to look at     {out / 'report.html'}",
    ]
    if trace:
        found.append(f"  one trace id   {trace[0]}  (task {trace[1]})")
    width = max(len(what) for what, _ in NEXT)
    found += ["", "next:"] + [f"  {what:<{width}}  {command}" for what, command in NEXT]
    return found


def dollars(nanos: int) -> str:
    """Nano-dollars as dollars, with as many places as a small sum needs."""
    value = nanos / 1e9
    return f"${value:.2f}" if value >= 1 or nanos == 0 else f"${value:.7f}"

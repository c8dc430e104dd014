"""A mesh's state as tables for people."""

from __future__ import annotations

from .status import MeshStatus


def print_status(found: MeshStatus) -> None:
    """Services, models, and what is amiss."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)

    def state(word: str) -> Text:
        return Text(word, style="green" if word == "serving" else "red")

    services = Table(box=None, pad_edge=False)
    for column in ("service", "state", "address", "metrics", "memory", "pid"):
        services.add_column(column, justify="right" if column in ("memory", "pid") else "left")
    for one in found.services:
        memory = f"{one.memory_bytes / 1e6:.0f} MB" if one.memory_bytes is not None else ""
        metrics = f":{one.metrics_port}" if one.metrics_port else ""
        services.add_row(Text(one.name), state(one.state), one.address, metrics, memory, str(one.pid))
    console.print(services)
    if found.models:
        models = Table(box=None, pad_edge=False)
        for column in ("model", "state", "node", "worker", "slots free", "tokens/s", "engine"):
            models.add_column(column)
        for model in found.models:
            speed = f"{model.tokens_per_second:.0f}" if model.tokens_per_second is not None else ""
            slots = f"{model.slots_free} of {model.slots_total}"
            models.add_row(
                Text(model.model),
                state(model.state),
                model.node,
                model.address,
                slots,
                speed,
                Text(model.engine),
            )
        console.print()
        console.print(models)
    for problem in found.problems:
        console.print(Text(f"not well: {problem}", style="red"))

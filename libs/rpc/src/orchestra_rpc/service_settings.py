"""What every service reads from its environment, and how: once, whole, every mistake named at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestra_rpc.settings import RpcSettings

PREFIX = "ORCHESTRA_"
Port = Annotated[int, Field(ge=0, le=65535)]
"""A subclass that gives a default repeats the type, so the bounds are part of it."""
Seconds = Annotated[float, Field(ge=0)]
"""The same for times that may be nothing."""


class SettingsError(Exception):
    """One line per wrong variable; the text is for whoever started the process."""


class ServiceSettings(BaseModel):
    """Each field is the variable `ORCHESTRA_` + its name in capitals; services subclass with their defaults.

    A plain model rather than pydantic-settings, whose import costs each process 10 MB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str
    """host:port; port 0 lets the system choose."""
    metrics_port: Port
    """0: no metrics."""
    metrics_host: str = "127.0.0.1"
    state_dir: Path
    """What must survive a restart."""
    otlp_endpoint: str = ""
    """Empty: spans are not exported."""
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_s: Seconds = 20.0
    """How long running calls may finish after SIGTERM."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Set and not empty variables override defaults. Raises SettingsError naming every wrong one."""
        variables = {name: PREFIX + name.upper() for name in cls.model_fields}
        values = {name: environment[key] for name, key in variables.items() if environment.get(key)}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            # the value itself is left out: it may be a secret put into the wrong variable
            lines = [f"{variables[str(one['loc'][0])]}: {one['msg'].lower()}" for one in error.errors()]
            raise SettingsError("\n".join(lines)) from None

    def rpc(self, listen: str = "") -> RpcSettings:
        """The part that concerns the server; `listen` given: the deployment says it."""
        return RpcSettings(listen=listen or self.listen, drain_s=self.drain_s)

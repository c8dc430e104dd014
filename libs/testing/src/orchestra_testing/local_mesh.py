"""The whole mesh as processes on free ports, for end-to-end tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

from orchestra_stack import Deployment, Mesh, PortPlan, write_local
from orchestra_stack.home import models_folder
from orchestra_stack.model_files import place


class LocalMesh:
    """A context manager; use it from the main thread.

    Without `folder` its state is in a folder of its own that goes with it. `template` replaces the local
    deployment's YAML.
    """

    def __init__(
        self,
        *,
        otlp_endpoint: str = "",
        with_models: bool = True,
        template: str | None = None,
        folder: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        # short: the path of a unix socket may have a hundred characters
        self.folder = folder or Path(tempfile.mkdtemp(prefix="orch-", dir=os.environ.get("TMPDIR", "/tmp")))
        self._own_folder = folder is None
        more = dict(variables or {})
        if otlp_endpoint:
            more["ORCHESTRA_OTLP_ENDPOINT"] = otlp_endpoint
        models = models_folder()
        if with_models:
            place(models)
        self.deployment: Deployment = write_local(
            "test",
            self.folder,
            models,
            PortPlan.free(),
            with_models=with_models,
            template=template,
            variables=more,
        )
        self.mesh = Mesh(self.deployment, tied=True)

    @property
    def router(self) -> str:
        """host:port of the public API."""
        return self.deployment.router

    def address(self, name: str) -> str:
        """host:port of an instance: router, cache, node-a, …"""
        return self.deployment.address(name)

    def log(self, name: str) -> str:
        """What an instance has written so far."""
        path = next(one.log for one in self.deployment.instances if one.name == name)
        return path.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        asyncio.run(self.mesh.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.mesh.stop_now()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

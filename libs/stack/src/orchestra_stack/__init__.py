"""The one table of services, and the launcher that runs them as a mesh on one machine."""

from .deployment import Deployment, Instance, PortPlan, write_local
from .mesh import Mesh
from .problem import StackError
from .table import SERVICES, Service, service

__all__ = [
    "SERVICES",
    "Deployment",
    "Instance",
    "Mesh",
    "PortPlan",
    "Service",
    "StackError",
    "service",
    "write_local",
]

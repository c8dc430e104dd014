"""What the node needs from outside, in its own words."""

from .engine import Engine, EngineDevice, EngineFacts, LoadMoved, LoadSettings, Outputs
from .files import Inspect, ModelFiles, Tier, Weights, WeightsFile
from .host import CardDriver, ChangeSignal, Meter, SpeedStore
from .workers import Probe, WorkerHandle, WorkerStarter

__all__ = [
    "CardDriver",
    "ChangeSignal",
    "Engine",
    "EngineDevice",
    "EngineFacts",
    "Inspect",
    "LoadMoved",
    "LoadSettings",
    "Meter",
    "ModelFiles",
    "Outputs",
    "Probe",
    "SpeedStore",
    "Tier",
    "Weights",
    "WeightsFile",
    "WorkerHandle",
    "WorkerStarter",
]

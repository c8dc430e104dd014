"""The error kinds of the mesh.

Any layer raises a kind; one server interceptor (in orchestra-rpc) turns it into a gRPC status with details,
and one function turns it back at the caller. Nothing here knows gRPC.
"""

from orchestra_errors._error import DOMAIN, FieldViolation, OrchestraError, kind_of_reason, kinds, rebuild
from orchestra_errors._failures import (
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Draining,
    Internal,
    NoCapacity,
    PeerFailed,
    RunCancelled,
    StreamSilent,
    Unavailable,
    UpstreamFailed,
    UpstreamKind,
    WorkerLost,
    WrongInstance,
)
from orchestra_errors._refusals import (
    AlreadyExists,
    BudgetExceeded,
    FailedPrecondition,
    InvalidRequest,
    LeaseLost,
    NoEligibleTarget,
    NotFound,
    NotYet,
    PermissionDenied,
    SubstitutionRefused,
    Unauthenticated,
    Unsupported,
)
from orchestra_errors._violations import Violations

__all__ = [
    "DOMAIN",
    "AlreadyExists",
    "BudgetExceeded",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "Draining",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidRequest",
    "LeaseLost",
    "NoCapacity",
    "NoEligibleTarget",
    "NotFound",
    "NotYet",
    "OrchestraError",
    "PeerFailed",
    "PermissionDenied",
    "RunCancelled",
    "StreamSilent",
    "SubstitutionRefused",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "UpstreamFailed",
    "UpstreamKind",
    "Violations",
    "WorkerLost",
    "WrongInstance",
    "kind_of_reason",
    "kinds",
    "rebuild",
]

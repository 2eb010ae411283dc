"""Keyed jobs on a Dask cluster, each recorded once: settings, lease, ledger, events, cluster, flow.

May import storage: the engine knows no Sentinel-2.
Main path: jobs → :class:`Flow` → workers → records in a :class:`Ledger`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "cost": ["Cost", "check_size"],
        "events": [
            "ClusterReady",
            "Event",
            "FitProgress",
            "LeaseWaiting",
            "Listener",
            "RunBroken",
            "RunEnded",
            "RunPlanned",
            "UnitDone",
            "UnitRetried",
            "UnitSkipped",
            "WorkerSilent",
        ],
        "frozen_plan": ["Frozen"],
        "lease": ["Holder", "Lease", "TERM", "holder"],
        "ledger": ["KnownRecords", "FINAL", "Ledger", "PASSING", "Record", "States"],
        "listening": ["listeners"],
        "phases": ["Engine", "Job", "Outcome", "Phase", "Step", "leased"],
        "progress": ["Progress", "at_work", "held"],
        "resources": ["ALLOCATOR", "gpus", "gpus_of", "memory_of", "threads_of", "workers_of"],
        "settings": ["Command", "folder", "suggestion", "split", "validated"],
        "verify": ["Broken", "broken_metadata", "recorded", "some_recorded", "revoke_broken"],
        "worker": [
            "Clock",
            "Peak",
            "REMEDY_NO_SPACE",
            "Written",
            "at_work",
            "do_job",
            "net_thread",
        ],
    },
)

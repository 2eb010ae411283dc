"""Workers as jobs of SLURM: the site's profile, and replacement of lost jobs."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, Literal

from dask.utils import parse_bytes
from distributed import Security
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from s2sharp_core import S2SharpError

from ..storage.location import Location, on_this_machine
from .settings import validation_message
from .worker import WORKER_THREADS

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster

# Seconds between two queries of SLURM's queue: sites ask for few queries.
_LOOK = 20.0
# Number of jobs in a row that end before their worker came, after which no more are sent.
_VAIN = 5
# Most seconds for an answer of SLURM.
_PATIENCE = 20.0
# Reasons in SLURM's queue with which a job waits forever.
_NEVER = {
    "AccountNotAllowed",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
}
# Lifetime of a worker as a share of its walltime, and its random spread, so that workers move their data and leave at
# different times.
_LIFETIME, _STAGGER = 0.85, 0.1


class Profile(BaseModel):
    """One job of a site's SLURM, with one worker. Each field is a key of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: int = Field(gt=0, description="Cores of a job; its net uses them all.")
    memory: str = Field(description='Memory of a job: "16GB". `s2sharp plan` says what it takes.')
    walltime: str = Field(
        "04:00:00",
        pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$",
        description="Time of a job, [DAYS-]HOURS:MINUTES:SECONDS; its worker leaves before.",
    )
    partition: str | None = Field(None, description="sbatch --partition.")
    account: str | None = Field(None, description="sbatch --account.")
    gpus: Literal[0, 1] = Field(0, description="GPUs of a job: a worker uses one at most.")
    directives: tuple[str, ...] = Field((), description='More of sbatch: ["--constraint=a100"].')
    prologue: tuple[str, ...] = Field(
        (), description='Lines before the worker starts: ["module load …"].'
    )
    python: str = Field(
        sys.executable,
        description="What starts Python on a node: that of a virtual environment which nodes see at one path, by default "
        'this one; or "apptainer exec --nv s2sharp.sif python".',
    )
    interface: str | None = Field(
        None, description='Network interface by which jobs reach this machine: "ib0".'
    )
    folder: Path | None = Field(
        None,
        description="Folder that nodes see, for jobs' logs and, while it lives, the cluster's key; by default OUT/jobs.",
    )

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str) -> str:
        parse_bytes(value)
        return value

    @property
    def bytes(self) -> float:
        """Memory of a job in bytes."""
        return float(parse_bytes(self.memory))

    @property
    def seconds(self) -> int:
        """Walltime of a job in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


@lru_cache
def read_profile(name: str) -> Profile:
    """Read a profile from a TOML file; ``slurm`` means slurm.toml here or in ~/.config/s2sharp.

    Error: ``bad-config``, with the file and each wrong key, or the missing package.
    """
    if find_spec("dask_jobqueue") is None:
        raise S2SharpError(
            "bad-config",
            "A cluster of SLURM jobs needs dask_jobqueue.",
            "Install it (`pip install 's2sharp[slurm]'`), or leave --cluster out.",
        )
    given = Path(name).expanduser()
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "s2sharp"
    files = [given] if given.suffix else [Path(f"{name}.toml"), home / f"{name}.toml"]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise S2SharpError(
            "bad-config",
            f"There is no profile {' or '.join(map(str, files))}.",
            "Begin with a copy of deploy/slurm/slurm.toml.",
        )
    try:
        return Profile(**tomllib.loads(file.read_text()))
    except ValidationError as error:
        why = validation_message(error, Profile.model_fields)
    except (OSError, ValueError) as error:
        why = str(error)
    raise S2SharpError(
        "bad-config", f"The profile {file} is wrong: {why}.", "See deploy/slurm/slurm.toml."
    )


@contextmanager
def jobs(
    profile: Profile, count: int, home: Location, exports: Mapping[str, str]
) -> Iterator[tuple[SLURMCluster, Callable[[], bool]]]:
    """Start ``count`` jobs with a worker each, whose scheduler is in this process; yield the cluster and
    :meth:`_Jobs.tend`.

    Connections are encrypted with a key that is made for this run. Dashboards are bound to the loopback addresses of
    their machines.

    Errors: ``bad-config`` without a folder that nodes see; ``jobs-refused`` with SLURM's reason.
    """
    from dask_jobqueue.slurm import SLURMCluster

    folder = _shared(profile, home)
    lifetime = [f"{share * profile.seconds:.0f}s" for share in (_LIFETIME, _STAGGER)]
    worker = ["--lifetime", lifetime[0], "--lifetime-stagger", lifetime[1]]
    worker += ["--dashboard-address", "127.0.0.1:0"]
    directives = list(profile.directives)
    if profile.gpus:
        worker += ["--resources", f"GPU={profile.gpus}"]
        directives.insert(0, f"--gres=gpu:{profile.gpus}")
    with (
        _key(folder) as security,
        SLURMCluster(
            security=security,
            log_directory=str(folder),
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            job_name="s2sharp",
            queue=profile.partition,
            account=profile.account,
            walltime=profile.walltime,
            cores=WORKER_THREADS,
            processes=1,
            job_cpu=profile.cores,
            memory=profile.memory,
            python=profile.python,
            interface=profile.interface,
            job_extra_directives=directives,
            job_script_prologue=[
                *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
                *profile.prologue,
            ],
            worker_extra_args=worker,
        ) as cluster,
    ):
        _check(cluster.job_script())
        cluster.scale(jobs=count)
        yield cluster, _Jobs(cluster, count, folder).tend


def _shared(profile: Profile, home: Location) -> Path:
    """Return the folder for logs and the key, which only its owner can enter."""
    folder = profile.folder.expanduser().resolve() if profile.folder else home / "jobs"
    if not on_this_machine(folder) or re.search(r"\s", str(folder)):
        raise S2SharpError(
            "bad-config",
            f"Jobs cannot have their logs and the cluster's key in {folder}.",
            "Name a folder in the profile that nodes see at the same path, without blanks: folder = …",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def _key(folder: Path) -> Iterator[Security]:
    """Make a key for one run, in files that only their owner can read and that are removed after the run."""
    made = Security.temporary()
    files = {
        "cert": (folder / "cluster-certificate.pem", made.tls_worker_cert),
        "key": (folder / "cluster-key.pem", made.tls_worker_key),
    }
    try:
        for file, text in files.values():
            file.unlink(missing_ok=True)  # left by a killed run
            file.touch(mode=0o600)
            file.write_text(text)
        each = {
            f"tls_{role}_{part}": str(file)
            for role in ("client", "scheduler", "worker")
            for part, (file, _) in files.items()
        }
        yield Security(require_encryption=True, tls_ca_file=str(files["cert"][0]), **each)
    finally:
        for file, _ in files.values():
            file.unlink(missing_ok=True)


def _check(script: str) -> None:
    """Test whether SLURM accepts the job, and raise ``jobs-refused`` if not."""
    with NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        said = _ask("sbatch", "--test-only", file.name)
    if said.returncode:
        raise _refused(said.stderr.strip())


def _refused(why: str) -> S2SharpError:
    return S2SharpError(
        "jobs-refused",
        f"SLURM would not run such jobs. {why}.",
        "Mend the profile's partition, account, walltime, cores, memory or gpus (`sinfo` shows what there is).",
    )


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  (SLURM's own programs, with our arguments)
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


class _Jobs:
    """A constant number of jobs: dask-jobqueue itself does not replace a lost one."""

    def __init__(self, cluster: SLURMCluster, count: int, folder: Path) -> None:
        self._cluster, self._count, self._folder = cluster, count, folder
        self._came: set[str] = set()
        self._vain: list[str] = []
        self._number = itertools.count(count)
        self._looked = time.monotonic()

    def tend(self) -> bool:
        """Send a job for each one that has left SLURM's queue; return True, since more workers will come.

        Errors: ``jobs-lost`` when one job after the other ends before its worker has come; ``jobs-refused`` when jobs
        would wait forever.
        """
        scheduler: Any = self._cluster.scheduler
        here = {worker.name for worker in list(scheduler.workers.values())}
        sent = {name: job.job_id for name, job in dict(self._cluster.workers).items()}
        self._came |= {job for name, job in sent.items() if job and name in here}
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            said = _ask("squeue", "--noheader", "--me", "--format=%i %r")
            if said.returncode == 0:
                lines = (line.partition(" ") for line in said.stdout.splitlines())
                queue = {job: why.strip() for job, _, why in lines}
                never = _NEVER & {queue[job] for job in sent.values() if job in queue}
                if never:
                    raise _refused(f"They wait for ever: {', '.join(never)}")
                self._replace(sent, set(queue))
            if here:
                self._vain.clear()
            elif len(self._vain) >= _VAIN:
                raise S2SharpError(
                    "jobs-lost",
                    f"{len(self._vain)} jobs ended before their worker had come, the last {self._vain[-1]}.",
                    f"Their logs in {self._folder} say why; often the profile's python or prologue is not right for "
                    "nodes, or these cannot reach this machine (interface).",
                )
        return True

    def _replace(self, sent: Mapping[str, str | None], queue: set[str]) -> None:
        gone = [name for name, job in sent.items() if job not in queue]
        self._vain += [
            sent[name] or "refused by SLURM" for name in gone if sent[name] not in self._came
        ]

        async def again() -> None:
            for name in gone:
                self._cluster.worker_spec.pop(name, None)
                # With a new name, since Dask later cancels the job of the old one.
                self._cluster.worker_spec[f"s2sharp-{next(self._number)}"] = self._cluster.new_spec
            # Also without a lost job: Dask itself forgets workers that have left, and requests no others.
            self._cluster.scale(jobs=self._count)

        self._cluster.sync(again)

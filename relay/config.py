"""relay.toml: what a site's operator decides. An unknown key is an error."""

from __future__ import annotations

import os
import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from bundle.dataset.asks import NETWORK_CLASSES
from bundle.limits import SIGNATURES_MAX
from bundle.records.profile import LIST_MAX
from bundle.trust import public_key
from bundle.trust.errors import TrustRefused
from relay.carrier import address
from relay.errors import ConfigRefused

NAME = "relay.toml"
_OPTION = re.compile(r"[a-z]+\.[^=\s]+=.*")
Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=10 * 365 * 86400)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _public_keys(given: Any, info: ValidationInfo) -> tuple[bytes, ...]:
    """Return the keys that texts stand for; the context is the folder of the file."""
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ValueError("it must be a list of texts")
    try:
        return tuple(public_key.read(one, info.context) for one in given)
    except TrustRefused as error:
        raise ValueError(error.text()) from error


class GpuSection(_Section):
    """The GPUs of one model in a node."""

    model: str
    memory_mib: Count = 0
    count: Annotated[int, Field(ge=1, le=1024)] = 1


Names = Annotated[tuple[str, ...], Field(max_length=LIST_MAX)]


class SiteSection(_Section):
    """Who this site is, by the name that central certified; what its nodes are; what it takes.

    What is not told is unknown and keeps no task away; `gpus = []` says that there are none.
    `allow` and `deny` name users, groups or dataset ids. `trip_hours`: until a bundle has come here
    and its answer is back, where a courier comes rarely.
    """

    name: str
    cpus: Annotated[float, Field(ge=0, le=100_000)] = 0
    memory_mib: Count = 0
    disk_bytes: Count = 0
    gpus: Annotated[tuple[GpuSection, ...] | None, Field(max_length=LIST_MAX)] = None
    walltime_hours: Annotated[float, Field(ge=0, le=366 * 24)] = 0
    os: str = ""
    arch: str = ""
    libc: str = ""
    software: Names | None = None
    network: Annotated[str, Field(pattern=f"^({'|'.join(NETWORK_CLASSES)})?$")] = ""
    allow: Names = ()
    deny: Names = ()
    tasks_max: Count = 0
    node_hours_max: Annotated[float, Field(ge=0, le=1e9)] = 0
    trip_hours: Annotated[float, Field(ge=0, le=10 * 366 * 24)] = 0


def _address(text: str) -> str:
    if text:
        address.parse(text)
    return text


class CentralSection(_Section):
    """Where central is; without `url` bundles travel by `export` and `import`.

    `url`: https://HOST, file:///FOLDER or ssh://USER@HOST/FOLDER; the folder is an exchange folder.
    `ca`: certificates to trust instead of this machine's, relative to relay.toml. `wait_s`: how
    long `relay run` lets central hold an answer until it has news; 0: not at all.
    """

    url: Annotated[str, AfterValidator(_address)] = ""
    timeout_s: Seconds = 30.0
    ca: str = ""
    wait_s: Annotated[float, Field(ge=0, le=600)] = 50.0


class SshSection(_Section):
    """How ssh:// gets there: over the connection that a person opened, or by keys as well.

    `control` is that connection's socket, `config` an ssh_config; empty: as your own files say.
    """

    login: Literal["person", "key"] = "person"
    control: Annotated[str, Field(pattern=r"^[^\s\"']*$")] = ""
    config: str = ""


class SpoolSection(_Section):
    """Where the spool lies (relative to relay.toml), how much room there is and for how long.

    `bytes_max`, `inodes_max`: the account's quota, as far as it is for the spool; 0: none.
    `purge_after_days`: the site removes what was not touched for so long; `purge_at`: everything,
    then (UTC, unless it says otherwise); `purge_warn_days`: so long before it is told.
    """

    path: str = "."
    free_bytes_min: Count = 1 << 30
    free_inodes_min: Count = 10_000
    bytes_max: Count = 0
    inodes_max: Count = 0
    purge_after_days: Annotated[float, Field(ge=0, le=3650)] = 0
    purge_at: datetime | None = None
    purge_warn_days: Annotated[float, Field(ge=0, le=3650)] = 3


class StatusSection(_Section):
    """Where ticks write the status page (relative to relay.toml), how often, who may read it."""

    folder: str = "status"
    every_s: Seconds = 60.0
    public: bool = False


class PilotsSection(_Section):
    """How many pilots at once, and what each is told. `slots` 0: one for each core.

    `folder` is what `pulk relay pilot-folder` made, relative to relay.toml; empty: what is
    installed here. `jitter_s`: each pilot waits so long at most before it starts;
    `starting_s`: after that, until its first task can start, prologue and imports included.
    """

    count: Count = 1
    slots: Count = 0
    idle_s: Seconds = 60.0
    jitter_s: Seconds = 0.0
    starting_s: Seconds = 60.0
    folder: str = ""
    turns_max: Annotated[int, Field(ge=1, le=9999)] = 100
    command: tuple[str, ...] = ()  # instead of this interpreter's `pulk pilot run`
    last_starts_s: Seconds = 600.0  # before the end of an allocation; see docs/pilot.md
    checkpoint_s: Seconds = 180.0
    stop_s: Seconds = 60.0
    emergency: str = ""  # where seals go when the spool takes no more; relative to relay.toml


class BatchSection(_Section):
    """How pilots get to nodes: as processes of this machine, or as batch jobs.

    `nodes`: of each batch job, one pilot on each. `options` are given to sbatch, or stand in
    HTCondor's submit description, as they are; PSI/J's are `SCHEDULER.NAME=VALUE`. The walltime is
    `[site] walltime_hours`. `pool` to `python` are HTCondor's (`gpus` PSI/J's as well); `shards`:
    of a pilot that does not share the relay's filesystem. `scheduler`: which one PSI/J speaks to.
    """

    adapter: Literal["local", "slurm", "htcondor", "psij"] = "local"
    scheduler: Literal["", "pbs", "pbs_classic", "lsf", "cobalt", "slurm"] = ""
    nodes: Annotated[int, Field(ge=1, le=10_000)] = 1
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""
    reservation: str = ""
    cpus: Count = 0
    memory_mib: Count = 0
    exclusive: bool = True
    requeue: bool = False
    signal_s: Annotated[int, Field(ge=0, le=65535)] = 60
    canary: bool = True
    poll_s: Seconds = 60.0
    command_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    options: tuple[str, ...] = ()
    pool: str = ""
    schedd: str = ""
    requirements: str = ""
    disk_mib: Count = 0
    gpus: Count = 0
    shared_filesystem: bool = True
    shards: Annotated[int, Field(ge=1, le=1000)] = 1
    python: str = "python3"


class RadioSection(_Section):
    """Whether `pulk relay run` is heard by pilots over ZeroMQ (docs/operate-site.md), and where.

    `listen`: "ipc" for pilots on this host; "tcp://ADDRESS:PORT", port `*` for any free one. Empty:
    it does not listen, and pilots go by the spool alone. `reach`: by which name nodes reach it.
    """

    listen: Annotated[str, Field(pattern=r"^(|ipc|tcp://\S+:(\*|[0-9]{1,5}))$")] = ""
    reach: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_\[\]-]*$")] = ""


class CapacitySection(_Section):
    """How much unfinished work the site wants to hold at once. `bundles` 0: no limit."""

    tasks_wanted: Count = 1000
    bundles: Count = 0


class CarrySection(_Section):
    """When to send again what no receipt covers, and how often to report without news.

    `retry_s`: the wait after the second failure in a row to reach central; it doubles up to
    `retry_s_max`.
    """

    resend_after_s: Seconds = 3600.0
    resend_gap_after_s: Seconds = 10.0
    resend_unanswered_after_s: Seconds = 30.0
    report_after_s: Seconds = 300.0
    retry_s: Seconds = 10.0
    retry_s_max: Seconds = 900.0
    telemetry: bool = True


class TrustSection(_Section):
    """Whose co-signatures a dataset needs before anything of it runs here. 0: nobody's.

    `cosigners` are public keys: 64 hex digits each, or a file (relative to relay.toml) of them.
    """

    cosigners: Annotated[tuple[bytes, ...], BeforeValidator(_public_keys)] = ()
    cosignatures_required: Annotated[int, Field(ge=0, le=SIGNATURES_MAX)] = 0

    @model_validator(mode="after")
    def _can_be_met(self) -> TrustSection:
        if self.cosignatures_required > len(set(self.cosigners)):
            keys = len(set(self.cosigners))
            raise ValueError(f"{self.cosignatures_required} of {keys} different keys are demanded")
        return self


class TasksSection(_Section):
    """What tasks see of this site and how they are held (docs/pilot.md). Read by the pilot.

    `software` are words as `name==version`; `software_files` are lists, relative to relay.toml, as
    `pip freeze` or `conda list --explicit` print them. Attempts name their digests.
    """

    path: str = ""
    software: Names = ()
    software_files: dict[str, str] = {}
    isolation: Literal["auto", "required", "plain"] = "auto"
    hidden: Names = ()
    visible: Names = ()
    images: dict[str, str] = {}
    container_binds: Names = ()
    writable: Names = ()
    processes_max: Annotated[int, Field(ge=1)] = 4096
    files_max: Annotated[int, Field(ge=16)] = 4096
    ram_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30


class StagingSection(_Section):
    """How large files of tasks move beside those that run (docs/pilot.md). Read by the pilot."""

    bytes_per_s: Annotated[int, Field(ge=0)] = 0
    at_once: Annotated[int, Field(ge=1)] = 2
    ahead_bytes_max: Annotated[int, Field(ge=0)] = 0


class Config(_Section):
    """The whole file. `tasks`, `staging`, `task_environment` are the pilot's, `radio` both's."""

    site: SiteSection
    central: CentralSection = CentralSection()
    ssh: SshSection = SshSection()
    spool: SpoolSection = SpoolSection()
    status: StatusSection = StatusSection()
    pilots: PilotsSection = PilotsSection()
    batch: BatchSection = BatchSection()
    capacity: CapacitySection = CapacitySection()
    radio: RadioSection = RadioSection()
    carry: CarrySection = CarrySection()
    trust: TrustSection = TrustSection()
    tasks: TasksSection = TasksSection()
    staging: StagingSection = StagingSection()
    task_environment: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.batch.nodes > max(1, self.pilots.count):
            raise ValueError("[batch] nodes is more than [pilots] count: no batch job would start")
        if self.batch.adapter == "local" and self.batch.nodes != 1:
            raise ValueError('[batch] nodes needs an adapter with batch jobs, as "slurm"')
        if self.batch.adapter == "htcondor" and self.batch.nodes != 1:
            raise ValueError("[batch] nodes: one of HTCondor's jobs has one node")
        if self.batch.adapter == "psij":
            self._fits_psij()
        if not self.batch.shared_filesystem:
            if self.batch.adapter != "htcondor":
                raise ValueError('[batch] shared_filesystem = false needs adapter = "htcondor"')
            if not self.pilots.folder:
                raise ValueError("[batch] shared_filesystem = false needs [pilots] folder")
        return self

    def _fits_psij(self) -> None:
        if not self.batch.scheduler:
            raise ValueError('[batch] adapter = "psij" needs scheduler')
        if self.batch.nodes != 1:
            raise ValueError("[batch] nodes: a batch job by psij has one node")
        if not self.site.walltime_hours:
            raise ValueError('[batch] adapter = "psij" needs [site] walltime_hours')
        for each in self.batch.options:
            if not _OPTION.fullmatch(each):
                raise ValueError(f"[batch] options: {each} is not SCHEDULER.NAME=VALUE")

    @property
    def slots(self) -> int:
        """Slots of one pilot."""
        return self.pilots.slots or len(os.sched_getaffinity(0))


def load(path: Path) -> Config:
    """Read the file. Raises ConfigRefused, which names the key."""
    try:
        with path.open("rb") as file:
            value = tomllib.load(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigRefused(where=str(path), key="file", reason=reason) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigRefused(where=str(path), key="TOML", reason=str(error)) from error
    try:
        return Config.model_validate(value, context=path.parent)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigRefused(where=str(path), key=key, reason=first["msg"]) from error


def text_of(site: str, url: str) -> str:
    """Return the text of a first relay.toml; both were checked to need no escaping."""
    central = f'url = "{url}"' if url else '# url = "https://central.example"  # else by stick'
    return (
        f'[site]\nname = "{site}"\n'
        "# Say what a node has, and no task that needs more will come: cpus = 64,\n"
        "# memory_mib = 256000, walltime_hours = 48, gpus = []; docs/plan.md lists the rest.\n\n"
        f"[central]\n{central}\n\n"
        f"[pilots]\ncount = 1\n# slots = 0  # one for each core\nidle_s = 60\n\n"
        f"[capacity]\ntasks_wanted = 1000\n\n"
        f'[tasks]\n# path = "/usr/local/bin:/usr/bin:/bin"\n\n'
        f"[task_environment]\n"
    )

"""A batch job as its ClassAd tells it. Pure.

An ad is a mapping of attributes, in whatever case, to plain values; what can't be evaluated or is
undefined is absent, or of a kind that is passed over here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from site_adapters.errors import OutputRefused
from site_adapters.htcondor import codes

# What the program asks for. The attributes that begin with Pulk are of its own submissions.
ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "NumJobStarts", "HoldReasonCode", "HoldReasonSubCode",
    "HoldReason", "RemoveReason", "RemoteHost", "ExitCode", "ExitBySignal", "ExitSignal", "QDate",
    "EnteredCurrentStatus", "CompletionDate", "JobDisconnectedDate", "JobLeaseDuration",
    "PulkName", "PulkHome", "PulkJobs", "PulkCarries", "PulkRequeue",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `status` None: a state never seen, as `word` says. Times are UTC seconds.

    `starts`: how often it began to execute. `is_placed`: a node is (still) its.
    """

    cluster: int
    proc: int
    status: int | None
    word: str = ""
    starts: int = 0
    is_placed: bool = False
    hold_code: int = 0
    hold_subcode: int = 0
    hold_reason: str = ""
    remove_reason: str = ""
    exit_code: int | None = None
    exit_signal: int | None = None
    submitted_s: int = 0
    entered_s: int = 0
    completed_s: int = 0
    disconnected_s: int = 0
    lease_s: int = 0
    name: str = ""
    home: str = ""
    jobs: int = 0
    carries: bool = False
    requeue: bool = False

    @property
    def id(self) -> str:
        """What HTCondor's programs call it."""
        return f"{self.cluster}.{self.proc}"


def from_ad(ad: Mapping[str, object], program: str = "condor_q") -> Job:
    """Return the job of an ad. Raises OutputRefused where it is none of a job."""
    low = {name.lower(): value for name, value in ad.items()}
    cluster, proc = _whole(low.get("clusterid")), _whole(low.get("procid"))
    if cluster is None or proc is None:
        found = ", ".join(sorted(ad))[:80]
        raise OutputRefused(program=program, found=found, expected="an ad with ClusterId, ProcId")

    def count(name: str) -> int:
        return max(0, _whole(low.get(name)) or 0)

    by_signal = low.get("exitbysignal") is True
    return Job(
        cluster=cluster,
        proc=proc,
        status=codes.status(low.get("jobstatus")),
        word=str(low.get("jobstatus", "none")),
        starts=count("numjobstarts"),
        is_placed=isinstance(low.get("remotehost"), str),
        hold_code=count("holdreasoncode"),
        hold_subcode=count("holdreasonsubcode"),
        hold_reason=_text(low.get("holdreason")),
        remove_reason=_text(low.get("removereason")),
        exit_code=None if by_signal else _whole(low.get("exitcode")),
        exit_signal=_whole(low.get("exitsignal")) if by_signal else None,
        submitted_s=count("qdate"),
        entered_s=count("enteredcurrentstatus"),
        completed_s=count("completiondate"),
        disconnected_s=count("jobdisconnecteddate"),
        lease_s=count("jobleaseduration"),
        name=_text(low.get("pulkname")),
        home=_text(low.get("pulkhome")),
        jobs=count("pulkjobs"),
        carries=low.get("pulkcarries") is True,
        requeue=low.get("pulkrequeue") is True,
    )


def from_ads(ads: Iterable[Mapping[str, object]], program: str = "condor_q") -> list[Job]:
    """Return the jobs of several ads. Raises OutputRefused."""
    return [from_ad(ad, program) for ad in ads]


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and abs(value) < 1 << 53:
        return int(value)
    return None


def _text(value: object) -> str:
    return (
        "".join(one if one.isprintable() else " " for one in value)
        if isinstance(value, str)
        else ""
    )

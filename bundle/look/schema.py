"""The tables of `pulk bundle query`, with the type of each column and what a table holds."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.records.segment import USAGE_NUMBERS
from bundle.records.series import COLUMNS
from bundle.records.telemetry import FIELDS


@dataclass(frozen=True, slots=True)
class Table:
    """What a table holds, and its columns: `int` or `str` by name."""

    words: str
    columns: dict[str, type]


def _table(words: str, columns: str) -> Table:
    """Read `name other:n`: text unless `:n` says that it is a number."""
    pairs = [one.partition(":") for one in columns.split()]
    return Table(words, {name: int if kind else str for name, _, kind in pairs})


def _numbers(names: tuple[str, ...]) -> str:
    return " ".join(f"{name}:n" for name in names)


_KEY = "bundle:n dataset job:n step:n generation:n lease pilot_run local:n"

SCHEMA: dict[str, Table] = {
    "bundles": _table(
        "one row for each bundle id",
        "bundle:n id kind producer audience stream sequence:n previous created_us:n created"
        " format:n epoch:n commit_number:n lifetime_ms:n network node_hours_max_milli:n"
        " raw_bytes:n chunks:n present:n verified:n signed_by",
    ),
    "copies": _table("the files that hold it", "bundle:n path file_bytes:n present:n"),
    "chunks": _table(
        "each chunk, in the best copy",
        "bundle:n place:n kind name records:n raw_bytes:n stored_bytes:n codec present:n digest",
    ),
    "files": _table("files that travel", "bundle:n sha256 bytes:n chunks:n present:n"),
    "signatures": _table("who signed", "bundle:n key words holder verifies:n"),
    "segments": _table(
        "pilots' sealed runs of attempts",
        "bundle:n segment dataset dataset_digest lease pilot_run work shard:n turn:n complete:n"
        " salvaged_at:n attempts:n host kernel cpu_model cores:n memory_mib:n boot_id python pulk"
        " offline swap_mib:n numa_nodes:n gpus scratch scheduler batch_id restarts:n modules",
    ),
    "attempts": _table(
        "each try at a task; outputs and consumed are counts",
        f"{_KEY} segment host fate exit_code:n signal:n started_us:n started_mono_us:n"
        f" ended_mono_us:n slot:n {_numbers(USAGE_NUMBERS)} outputs:n consumed:n software evidence",
    ),
    "outputs": _table("files that attempts left", f"{_KEY} number:n sha256 bytes:n"),
    "consumed": _table("parents' outcomes that attempts used", f"{_KEY} number:n outcome"),
    "leases": _table(
        "shards promised to a site",
        "bundle:n lease dataset dataset_digest shard:n tasks:n needs returns duration_ms:n",
    ),
    "lease_blocks": _table(
        "their tasks as runs of jobs", "bundle:n lease generation:n step:n first_job:n jobs:n"
    ),
    "spec_hashes": _table("what determines a step's output", "bundle:n lease step:n hash"),
    "spent": _table("failures so far", "bundle:n lease job:n step:n failures:n"),
    "tried": _table(
        "what the next try of a task rests on; failures by fate, pilots as JSON",
        "bundle:n lease job:n step:n failures memory_peak_mib:n wall_peak_ms:n disk_peak_bytes:n"
        " ended_us:n losses:n pilots",
    ),
    "asks": _table(
        "first requests that were learned",
        "bundle:n lease step:n cpu_milli:n gpu_milli:n memory_mib:n disk_bytes:n walltime_ms:n",
    ),
    "pins": _table(
        "parents' successes from other bundles, by output",
        "bundle:n lease dataset job:n step:n generation:n attempt number:n sha256 bytes:n",
    ),
    "foreign_pins": _table(
        "successes of other datasets that tasks read, by output; task: its job, or block there",
        "bundle:n lease dataset step task:n generation:n attempt output sha256 bytes:n",
    ),
    "datasets": _table(
        "documents", "bundle:n dataset digest name description jobs:n seed:n steps:n tasks:n"
    ),
    "steps": _table(
        "their steps",
        "bundle:n dataset step:n name per argv needs inputs:n outputs:n tasks:n cpu_milli:n"
        " gpu_milli:n memory_mib:n disk_bytes:n walltime_ms:n failures_max:n retry",
    ),
    "cosignatures": _table("users' word for a document", "bundle:n digest key words"),
    "works": _table(
        "work bundles that results answer",
        "bundle:n work audience stream sequence:n created_us:n created lifetime_ms:n",
    ),
    "telemetry": _table("looks at a node", f"bundle:n segment {_numbers(FIELDS)}"),
    "series": _table(
        "highest values of tasks over time, a row for each point",
        f"bundle:n segment local:n {_numbers(COLUMNS)}",
    ),
    "logs": _table("what payloads wrote", "bundle:n segment local:n bytes:n text"),
    "reports": _table(
        "what sites say", "bundle:n at_us:n tasks_wanted:n slots:n pilots_running:n trust_version:n"
    ),
    "report_has": _table("chunks that they need not be sent", "bundle:n digest"),
    "report_held": _table("work they hold", "bundle:n work shards:n complete:n open_tasks:n"),
    "report_profile": _table("facts about them", "bundle:n name value"),
    "report_refused": _table("what they refused", "bundle:n what code"),
    "receipts": _table(
        "what became of a stream's bundles", "bundle:n stream state first:n last:n code"
    ),
    "received": _table("which bundles arrived there", "bundle:n stream first:n last:n"),
    "tombstones": _table("datasets that are gone", "bundle:n dataset"),
    "called_off": _table("leases that nobody wants any more", "bundle:n lease"),
    "called_off_tasks": _table(
        "tasks of leases that nobody wants any more", "bundle:n lease step:n first:n last:n"
    ),
    "edits": _table(
        "documents that edits put in force", "bundle:n dataset document epoch:n commit:n"
    ),
    "problems": _table("files and chunks that could not be read", "path place:n code what"),
}

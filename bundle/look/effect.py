"""What a bundle would do where it is taken in, as phrases that follow `would` or `claims to`."""

from __future__ import annotations

from collections.abc import Iterator

from bundle.errors import PulkError
from bundle.look.contents import Contents
from bundle.look.records import trust_versions
from bundle.look.words import counted, listed, numbered, size
from bundle.records.report import Report
from bundle.records.rules import UNKNOWN
from bundle.wire.manifest import Kind, Manifest


def effect(manifest: Manifest, found: Contents) -> list[str]:
    """Return one phrase for each thing it would do, such as `bring 4 files (1.0 KiB)`."""
    phrases = [*_offers(manifest, found), *_reports(manifest, found)]
    if manifest.kind is Kind.COMMIT:
        facts = sum(one.records for one in manifest.chunks if one.kind != "dataset")
        phrases.append(f"record {counted(facts, 'fact')} of central as commit {manifest.commit}")
    if manifest.kind in (Kind.SUBMISSION, Kind.COMMIT):
        phrases += [
            f"submit {_dataset(one, found)} with {counted(found.jobs[one], 'job')}"
            for one in found.names
        ]
    if found.cosigners:
        phrases.append(f"bring the co-signatures of {counted(len(found.cosigners), 'user')}")
    if found.files:
        absent = f", {found.files_absent:,} of them not in this copy" if found.files_absent else ""
        phrases.append(f"bring {counted(found.files, 'file')} ({size(found.file_bytes)}){absent}")
    return phrases + list(_says(manifest)) or ["do nothing"]


def _offers(manifest: Manifest, found: Contents) -> Iterator[str]:
    if manifest.kind is not Kind.WORK:
        return
    whom = f"site {manifest.audience}" if manifest.audience else "anybody"
    if found.shards:
        tasks = listed(
            f"{counted(count, 'task')} of {_dataset(one, found)}"
            for one, count in found.tasks.items()
        )
        yield f"offer {counted(found.shards, 'shard')} with {tasks} to {whom}"
    if manifest.rules is not None:
        cap = manifest.rules.node_hours_max_milli
        hours = f"at most {cap / 1000:g} node hours" if cap else "no cap on node hours"
        network = "no network" if manifest.rules.network == "none" else "any network"
        yield f"hold {whom} to its rules: {network}, {hours}"
        most = manifest.rules.maximum
        if most != UNKNOWN:
            limits = (
                f"{most.memory_mib} MiB" if most.memory_mib else "",
                f"{most.walltime_ms / 3_600_000:g} h" if most.walltime_ms else "",
                f"{most.disk_bytes / 2**30:.3g} GiB of disk" if most.disk_bytes else "",
            )
            yield f"let retries grow to {', '.join(filter(None, limits))}"


def _reports(manifest: Manifest, found: Contents) -> Iterator[str]:
    if found.segments:
        total = counted(found.fates.total(), "attempt")
        fates = ", ".join(f"{count:,} {fate}" for fate, count in found.fates.most_common())
        of = counted(len(found.attempt_leases), "lease")
        salvaged = sum(not one.pilot_signature for one in manifest.segments)
        what = f"report {total} of {of}: {fates}" if fates else f"report {total} of {of}"
        yield what + (f" ({counted(salvaged, 'segment')} salvaged)" if salvaged else "")
    if found.samples:
        yield f"bring {counted(found.samples, 'sample')} of nodes"
    for report in found.reports:
        yield _report(manifest.producer, report)


def _report(site: str, report: Report) -> str:
    shards = sum(one.shards for one in report.held)
    complete = sum(one.complete for one in report.held)
    held = (
        f"{counted(len(report.held), 'work bundle')} ({complete:,} of {shards:,} shards complete)"
    )
    wants = f"wants {counted(report.tasks_wanted, 'task')}, has {counted(report.slots, 'slot')}"
    refused = f", refused {counted(len(report.refused), 'bundle')}" if report.refused else ""
    pilots = counted(report.pilots_running, "running pilot")
    return f"tell that {site} {wants} and {pilots}, holds {held}{refused}"


def _says(manifest: Manifest) -> Iterator[str]:
    several = len(manifest.receipts) > 1
    for one in manifest.receipts:
        stream = f" of stream {one.stream.hex()[:8]}" if several else ""
        for word, numbers in (("merged", one.merged - one.safe), ("safe", one.safe)):
            if numbers.spans:
                yield f"acknowledge {numbered('bundle', numbers)}{stream} as {word}"
        if one.parked.spans:
            yield f"tell that {numbered('bundle', one.parked)}{stream} wait, parked"
        if one.refused:
            yield f"tell that {counted(len(one.refused), 'bundle')}{stream} were refused"
    for stream_id, numbers in manifest.received:
        if numbers.spans:
            stream = f" of stream {stream_id.hex()[:8]}" if len(manifest.received) > 1 else ""
            yield f"tell that central's {numbered('bundle', numbers)}{stream} arrived"
    if manifest.tombstones:
        yield f"declare {counted(len(manifest.tombstones), 'dataset')} gone"
    if manifest.called_off:
        yield f"call off {counted(len(manifest.called_off), 'lease')}"
    if manifest.edits:
        yield f"put {counted(len(manifest.edits), 'edited document')} in force"
    if manifest.called_off_tasks:
        tasks = sum(len(jobs) for _, _, jobs in manifest.called_off_tasks)
        leases = len({lease for lease, _, _ in manifest.called_off_tasks})
        yield f"call off {counted(tasks, 'task')} of {counted(leases, 'lease')}"
    if manifest.trust:
        yield f"bring {_trust(manifest)}"


def _trust(manifest: Manifest) -> str:
    try:
        versions = trust_versions(manifest.trust)
    except PulkError:
        return "a trust chain that cannot be read"
    names = listed(map(str, versions))
    return f"trust version {names}" if len(versions) == 1 else f"trust versions {names}"


def _dataset(dataset: str, found: Contents) -> str:
    name = found.names.get(dataset)
    return f"dataset {name} ({dataset})" if name else f"dataset {dataset}"

"""The planted bugs: each a mistake that somebody could make, small, and fatal in some world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from central.core.receipts import Outcome
from tests.simulation.planting import Bug

ROUGH = {"mishaps": 0.25, "relay_dies": 0.1}
DYING = {"central_dies": 0.3}
FALLING = {"relay_dies": 0.5}
FORGED = {"forging": 0.4}
RESTORED = {"restore": "folder"}
ASKED = {"controls": 16, "datasets": 3}
SNAPSHOT = {"restore": "snapshot", "days": 8.0, "sites": 3}
LOOSE = {"differing": 1.0, "failing": 0.2, "mishaps": 0.25}


def nothing(_real: Any) -> Callable[..., None]:
    """Do nothing instead."""
    return lambda *_args, **_kw: None


def always(value: Any) -> Callable[[Any], Callable[..., Any]]:
    """Return one value instead, whatever is asked."""
    return lambda _real: lambda *_args, **_kw: value


def _dropping_cancelled(real: Any) -> Callable[..., Any]:
    def add(self: Any, dataset: Any, segments: Any, contested: Any) -> None:
        if not self._w.controls(dataset).whole.cancelled:
            real(self, dataset, segments, contested)

    return add


def _dropping_parked(real: Any) -> Callable[..., Any]:
    def refuse(workings: Any, bundle: Any, row: Any, error: Any) -> Any:
        found = real(workings, bundle, row, error)
        if found.outcome is Outcome.PARKED:
            (workings.home.parked / f"{bundle.id}.pulk").unlink(missing_ok=True)
        return found

    return refuse


def _twice(real: Any) -> Callable[..., Any]:
    def add(self: Any, one: Any, sign: int = 1) -> None:
        real(self, one, sign)
        if one.local:
            real(self, one, sign)

    return add


def _dropping_seals(real: Any) -> Callable[..., Any]:
    def draft(self: Any, sequence: int, previous: bytes) -> Any:
        made = real(self, sequence, previous)
        if made is not None:
            for one in self.chosen:
                one.path.unlink(missing_ok=True)
        return made

    return draft


BUGS = (
    # central: what is durable when somebody hears an answer
    Bug("the archive's names are not synced before the answer",
        "central.blob.folder:FolderBlobs.put",
        "publish.fsync_folder(target.parent)", "pass", plan=DYING),
    Bug("a bundle is called merged and never archived", "central.archive:Archive.put",
        make=always(True), plan={"restore": ""}),
    Bug("what a crash left in the archive is not merged", "central.absorb:recover",
        make=nothing, plan=DYING | {"restore": "database"}),
    Bug("safe is said of what lies on one disk", "central.archive:Archive._copy_out",
        make=always(9), plan=RESTORED),
    Bug("a restore takes only what the old backup lists", "central.restore:_bring",
        "others = (folder.parent / POOL, *archives)", "others = tuple(archives)",
        plan=RESTORED | {"days": 6.0}),
    Bug("a backup copies no bundle", "central.archive:Archive.copy",
        make=lambda _real: lambda _self, _bundle, target: target.touch(), plan=RESTORED),
    # central: what counts
    Bug("lineage is ignored", "central.core.verdict:_choose",
        "and one.lineage == facts.lineage", "", plan=LOOSE | {"restore": ""},
        mischief=("split",)),
    Bug("generation is ignored", "central.state.plain:PlainJoin._places",
        "counts = (generation >= standings.since[of]) & (generation <= standings.generation[of])",
        "counts = generation >= 0", plan=ASKED),
    Bug("failures beat a success", "central.core.verdict:verdict",
        "elif outcome:", "elif outcome and not known.failures:", plan={"failing": 0.3}),
    Bug("failures never exhaust a task", "central.core.verdict:verdict",
        "retry.exhausted(known, facts.rules, facts.failures_max)", "retry.Exhausted.NOT",
        plan={"poison": 0.3}),
    Bug("the site's own failures use up the budget", "central.core.verdict:verdict",
        "facts.failures_max)", "facts.failures_max - known.losses)",
        plan={"failing": 0.5, "sites": 2, "days": 6.0, "restore": ""},
        mischief=("gone for good", "purge")),
    Bug("hours count twice", "central.core.changes:UsageSum.add", make=_twice),
    Bug("results of cancelled tasks are dropped", "central.joining:Joining.add_segments",
        make=_dropping_cancelled, plan=ASKED),
    Bug("the last of two successes wins", "central.core.verdict:_choose",
        "return min(matching), False, tuple(sorted(matching)) if len(matching) > 1 else ()",
        "return [one.outcome for one in facts.attempts if one.outcome in matching][-1], False, ()",
        plan=LOOSE | {"relay_dies": 0.25, "restore": ""}, mischief=("split",)),
    Bug("expiry rejects results", "central.holding:_reader",
        "lease, owner, work = workings.lease(row), row.site, row.work",
        "lease, owner, work = workings.lease(row), row.site, row.work\n"
        "        if row.state == 'expired':\n"
        "            raise MalformedContent(where='', reason='too late')",
        plan={"mishaps": 0.25}, mischief=("away",)),
    Bug("leases never expire", "central.pack:Packer._expire", make=nothing,
        plan={"sites": 2, "days": 6.0}, mischief=("gone for good",)),
    Bug("a reset passes over the children", "central.core.controls:_cascade",
        make=nothing, plan=ASKED),
    Bug("a tombstone can be taken back", "central.core.controls:_standing",
        "removed=ControlWord.TOMBSTONE in words",
        "removed=words[-1] is ControlWord.TOMBSTONE", plan=ASKED),
    Bug("a resume is not heard", "central.core.controls:_last",
        "return bool(pair) and pair[-1] is which", "return which in pair", plan=ASKED),
    Bug("a repeated request acts again", "central.requests:answered",
        make=always(None), plan={"restore": "", "datasets": 3}),
    # central: facts as bytes
    Bug("a plain success ignores its lineage", "central.state.plain:PlainJoin._strayed",
        "if lineages.get(int(jobs[place])) != consumed:", "if False:",
        plan=LOOSE | {"restore": ""}, mischief=("split",)),
    Bug("a control leaves bytes alone", "central.state.controlling:apply",
        "forget=forget if step in remade else 0", "forget=0", plan=ASKED),
    Bug("what an adoption makes count is not joined anew",
        "central.state.controlling:_join_again", make=nothing, plan=ASKED),
    Bug("a control counts in rows and not in bytes", "central.core.controls:Controls.standings",
        "generation[covered] += 1", "pass", plan=ASKED),
    Bug("an edit makes nothing stale", "central.core.edit:changed_steps",
        make=always(frozenset()), plan=ASKED),
    Bug("failures never exhaust a task in bytes", "central.core.state_byte:verdicts",
        "found[(states & FAILURES) >= failures_max] = FAILED", "pass", plan={"poison": 0.3}),
    Bug("a block's ready number drifts", "central.state.blocks:Blocks.note",
        "one.ready += ready", "one.ready += min(ready, 0)"),
    Bug("recall leaves a segment out", "central.state.recall:Recall.touching",
        "[read[no] for no in sorted(read)]", "[read[no] for no in sorted(read)][-1:]",
        plan={"failing": 0.5, "controls": 6}),
    Bug("a known segment counts again", "central.holding:read_segments",
        "if entry.digest in known:", "if False:", plan=RESTORED | {"mishaps": 0.25}),
    Bug("what the merge counts is counted in bytes too",
        "central.state.dataset_join:DatasetJoin.add_segments",
        "arrived.usage(joined.plain_attempts)", "arrived.usage(part)", plan=LOOSE),
    Bug("a child is not looked at when its parent is done",
        "central.state.affected:Affected._reach", make=nothing),
    Bug("a lease's end leaves its tasks leased",
        "central.state.dataset_join:DatasetJoin.set_leased",
        "states & (255 - state_byte.LEASED)", "states",
        plan={"failing": 0.3, "mishaps": 0.25}, mischief=("purge",)),
    # central: whom it believes
    Bug("a set-back central goes on", "central.core.chain:is_beyond", make=always(False),
        plan=SNAPSHOT),
    Bug("a site answers for another's lease", "central.holding:_SegmentReader.authorise",
        make=nothing, plan=FORGED | {"sites": 3, "datasets": 3}),
    Bug("signatures are not checked", "bundle.wire.admit:verify", make=always(True),
        plan={"mishaps": 0.5}),
    Bug("a revocation is not heard", "bundle.trust.trust_file:TrustView.revoked_key",
        make=always(None), plan=FORGED | {"days": 8.0}, mischief=("rotate", "rotate")),
    Bug("what is parked is dropped", "central.parking:refuse", make=_dropping_parked,
        plan={"mishaps": 0.25}, mischief=("rotate", "rotate")),
    Bug("what is parked stays so", "central.absorb:_retry_parked", make=nothing,
        plan={"mishaps": 0.25}, mischief=("rotate", "rotate")),
    # relay
    Bug("a relay deletes what is merged and not safe", "relay.core.custody:is_free",
        "return sequence in receipt.safe", "return sequence in receipt.merged or False",
        plan=RESTORED),
    Bug("a relay takes a carrier's word for a receipt", "relay.custody:send",
        "if held.kind in LOSSY and", "if", plan=RESTORED | {"mishaps": 0.25}),
    Bug("what got no receipt is not sent again", "relay.core.custody:_step",
        "return Step(Deed.RESEND, held)", "return None", plan={"mishaps": 0.5}),
    Bug("a new epoch keeps the old one's receipts", "relay.core.custody:join_receipt",
        "return KnownReceipt(_with_safe(news, safe), epoch)",
        "return KnownReceipt(_with_safe(old, safe), epoch)", plan=RESTORED),
    Bug("a copied spool goes on with the stream", "relay.stream:_identity",
        make=always(b"the same"), plan={"days": 8.0, "restore": ""}, mischief=("split",)),
    Bug("an old spool uses numbers again", "relay.stream:_identity",
        "folder.stat().st_ino", "0",
        plan={"days": 8.0, "restore": ""}, mischief=("old copy", "old copy")),
    Bug("a journal is not salvaged", "relay.salvage:_seal_journal", make=always(False)),
    Bug("a seal goes before its bundle has a number", "relay.results:_ResultDraft.__call__",
        make=_dropping_seals, plan=FALLING),
    Bug("folders are not synced", "bundle.spool.publish:fsync_folder", make=nothing,
        plan=FALLING),
    Bug("files are not synced", "bundle.spool.publish:stage",
        "os.fsync(file.fileno())", "pass", plan=FALLING),
    Bug("a site runs what is another's", "relay.accept:open_work",
        "audience=home.site", "audience=None", plan={"sites": 3, "datasets": 3, "days": 8.0}),
    # pilot
    Bug("a seal lacks the last record", "pilot.seal:encode",
        "tuple(recorded.attempts)", "tuple(recorded.attempts[:-1])"),
)  # fmt: skip

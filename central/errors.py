"""What central refuses, and what it can't do now."""

from __future__ import annotations

from bundle.errors import PulkError
from bundle.wire.errors import BundleRefused, Parkable


class ForeignLease(BundleRefused):
    """A site reports on a lease that was given to another site."""

    code = "foreign-lease"
    what = "lease {lease} was given to site {owner}, not to {site}"
    remedy = "look at the site's key: it can vouch for its own leases only; nothing was changed"


class OutsideLease(BundleRefused):
    """A segment holds an attempt at a task that its lease does not hold."""

    code = "outside-lease"
    what = "segment {segment}: {reason}"
    remedy = "look at the site's pilots; nothing of the bundle was used"


class MalformedContent(BundleRefused):
    """A bundle's chunks and its signed manifest contradict each other."""

    code = "malformed-content"
    what = "{reason}"
    remedy = "have the sender make it again with a current version; nothing of it was used"


class TooManyAttempts(BundleRefused):
    """A result bundle holds more attempts than one transaction may take."""

    code = "too-many-attempts"
    what = "{found} attempts, at most {most}"
    remedy = "have the site put less into one bundle; nothing of it was used"


class MissingLease(BundleRefused, Parkable):
    """A result rests on a work manifest or lease that is neither known here nor in the bundle."""

    code = "missing-lease"
    what = "lease {lease} is not known here and the bundle does not bring it"
    remedy = "keep it: it is merged once the bundle that introduces the lease arrives"


class MissingDataset(BundleRefused, Parkable):
    """A bundle rests on a dataset document that is neither known here nor in the bundle."""

    code = "missing-dataset"
    what = "dataset {dataset} is not known here and the bundle does not bring it"
    remedy = "keep it: it is merged once the document arrives"


class TooManyStrangers(PulkError):
    """So many bundles of signers that are not known wait here that no more is kept.

    Look at the folder `parked`, enrol whom you know, and remove the rest by hand.
    """

    code = "too-many-strangers"
    what = "too much waits of signers that are not known here: {reason}"
    remedy = "look at what lies in `parked`; what its sender keeps comes again"


class ArchiveIncomplete(PulkError):
    """An archived bundle is needed and can't be read. Nothing is lost: put its file back."""

    code = "archive-incomplete"
    transient = True
    what = "bundle {bundle} of the archive is needed and can't be read: {reason}"
    remedy = "put its file back from a mirror or backup; `pulk central fsck` names all such files"


class BlockDamaged(PulkError):
    """The states of a block of jobs can't be read. The archive makes the database anew."""

    code = "block-damaged"
    what = "step {step} of dataset {dataset}: the states of jobs {first} to {last} are damaged"
    remedy = "stop central, make its database anew with `pulk central rebuild`, and check the disk"


class JoinFailed(PulkError):
    """A sound bundle can't be joined to the database: a bug, or damage. It is not refused."""

    code = "join-failed"
    what = "the bundle is sound and can't be merged: {reason}"
    remedy = "nothing was changed and its sender keeps it; run `pulk central fsck`, report a bug"


class Unbalanced(PulkError):
    """Counters and tasks disagree: a bug. Nothing was committed; run `pulk central fsck`."""

    code = "unbalanced"
    what = "the counts {counts} do not fit {tasks} tasks"
    remedy = "run `pulk central fsck` and report this; nothing was changed"


class BadFilesystem(PulkError):
    """SQLite loses data on network filesystems; put the folder on a local disk."""

    code = "bad-filesystem"
    what = "the database lies on {kind}, where SQLite's locks can't be trusted"
    remedy = "put central's folder on a local disk (copies of the archive may lie elsewhere)"


class WrongSchema(PulkError):
    """The database was written by another version. Rebuild it from the archive, or upgrade."""

    code = "wrong-schema"
    what = "the database has schema {found}, this program uses {expected}"
    remedy = "install the version that wrote it, or run `pulk central rebuild` from its archive"


class DatabaseBusy(PulkError):
    """Another process holds the database for long. Try again."""

    code = "database-busy"
    transient = True
    what = "the database is held by another process: {reason}"
    remedy = "try again"


class DatabaseTrouble(PulkError):
    """The database did not do what was asked: its disk is full or broken, or it was lost."""

    code = "database-trouble"
    transient = True
    what = "the database did not do what was asked: {reason}"
    remedy = "free space, look after disk and database server, then try again"


class ConstraintBroken(PulkError):
    """Something was to be added that the database holds already: a bug. Nothing was committed."""

    code = "constraint-broken"
    what = "the database refuses a row: {reason}"
    remedy = "report this; nothing was changed"


class StoreRefused(PulkError):
    """The database that central.toml chooses can't be used as it is named or set up."""

    code = "store-refused"
    what = "the database can't be used: {reason}"
    remedy = "correct [store] in central.toml; docs/operate-central.md says how"


class NotDurable(PulkError):
    """The PostgreSQL server says committed before it is on the disk. Turn the setting on."""

    code = "not-durable"
    what = "{setting} is {found}: the server may lose what it called committed"
    remedy = "turn {setting} on at the server; central acknowledges nothing that can be lost"


class BackupRefused(PulkError):
    """No copy of the database could be made. Install pg_dump of the server's version, or newer."""

    code = "backup-refused"
    what = "the database can't be copied: {reason}"
    remedy = "install the PostgreSQL client programs of the server's version or newer"


class RestoreRefused(PulkError):
    """The database's copy in a backup cannot be brought into a server. Name an empty database.

    `[store] url` of the backup's central.toml says which, unless PULK_STORE_URL names another one.
    """

    code = "restore-refused"
    what = "the copy of the database was not restored: {reason}"
    remedy = "name an empty database with PULK_STORE_URL, then restore again"


class UnknownDataset(PulkError):
    """There is no dataset of that id."""

    code = "unknown-dataset"
    what = "there is no dataset {dataset}"
    remedy = "list them with `pulk dataset list`"


class UnknownTask(PulkError):
    """The dataset has no such step or job."""

    code = "unknown-task"
    what = "there is no task {task}"
    remedy = "look at the dataset's counts for its steps and jobs"


class UnknownFile(PulkError):
    """No bundle brought a file of that digest."""

    code = "unknown-file"
    what = "no file {sha256} has travelled home"
    remedy = "outputs of final steps, kept outputs and inputs of other bundles travel home"


class UnknownBundle(PulkError):
    """There is no such bundle for this site."""

    code = "unknown-bundle"
    what = "there is no bundle {bundle} for site {site}"
    remedy = "ask for the outbox again"


class Unauthorised(PulkError):
    """The request carries no valid token."""

    code = "unauthorised"
    what = "the request carries no valid token"
    remedy = (
        "give one that holds (--token-file or PULK_TOKEN_FILE): `pulk central init` wrote the "
        "administrator's to DIR/admin.token, who makes others with `pulk token make`"
    )


class Forbidden(PulkError):
    """The request is signed or meant for somebody else."""

    code = "forbidden"
    what = "{reason}"
    remedy = "ask who may, or ask with a token or key of whom it is meant for"


class BadControl(PulkError):
    """A control names steps or jobs that the dataset has not."""

    code = "bad-control"
    what = "{reason}"
    remedy = "look at the dataset's counts for its steps and jobs; nothing was changed"


class SelectionTooLarge(PulkError):
    """Too many tasks, or in too many places, for one control. Select them in parts, by jobs."""

    code = "selection-too-large"
    what = "it is too much for one control: {reason}"
    remedy = "name fewer jobs at a time, or the dataset as a whole"


class EditRefused(PulkError):
    """A document can't take the place of a dataset's. Edit a copy of the one in force."""

    code = "edit-refused"
    what = "the document can't replace the dataset's: {reason}"
    remedy = (
        "keep jobs, steps and needs as they are, or submit it as a dataset of its own; "
        "`pulk dataset extend` and `truncate` change the number of jobs"
    )


class IdempotencyConflict(PulkError):
    """An idempotency key came again with another request."""

    code = "idempotency-conflict"
    what = "the idempotency key was used for another request"
    remedy = "make a new key for a new request"


class SignerNotInForce(PulkError):
    """The trust file was replaced and central's key not yet: a rotation is half done."""

    code = "signer-not-in-force"
    transient = True
    what = "central's key {key} is not in force in trust version {version}"
    remedy = "take the trust version again with `pulk keys take`, which finishes it"


class SetBack(PulkError):
    """A site brought back central's signed head from beyond what this central knows.

    Either it was set back without being told (a snapshot of its machine, an old copy of its disk),
    or another central runs with its key. It merges what comes, and says nothing: no leases,
    receipts or commits. Make sure that no other central runs, then `pulk central take-over DIR`.
    """

    code = "set-back"
    transient = True
    what = "central was set back, or is one of two, and says nothing until it is told"
    remedy = "make sure that no other central runs, then stop this one and run `central take-over`"


class UnknownSite(PulkError):
    """No site of this name was ever enrolled or heard here. `pulk central site list` shows them."""

    code = "unknown-site"
    what = "there is no site {site}"
    remedy = "copy the name from `pulk central site list`"


class UserRefused(PulkError):
    """A user cannot be added or changed so, or there is no such user."""

    code = "user-refused"
    what = "{reason}"
    remedy = "look at `pulk central user list DIR`; nothing was changed"


class AccessRefused(PulkError):
    """A dataset can't be given to that group, or its document charges somebody else."""

    code = "access-refused"
    what = "{reason}"
    remedy = "name yourself or a group of yours, or ask production to do it; nothing was changed"


class QuotaExceeded(PulkError):
    """A user has used up what an administrator allows: open tasks, hours or bytes."""

    code = "quota-exceeded"
    what = "more than is left to you: {reason}"
    remedy = "wait until tasks end, cancel some, or ask an administrator for more"


class TooManyRequests(PulkError):
    """A user asked more often in a minute than an administrator allows. Ask more slowly."""

    code = "too-many-requests"
    transient = True
    what = "more than {per_minute} requests came in a minute"
    remedy = "ask again after the seconds in Retry-After"


class ChangedMeanwhile(PulkError):
    """The dataset is no longer what the request's If-Match names. Look again, then decide anew."""

    code = "changed-meanwhile"
    what = "it was changed since it was read"
    remedy = "read it again and repeat the request with its new ETag; nothing was changed"


class NotifyRefused(PulkError):
    """Nobody can be told so: the address is not one that central sends to, or there is none."""

    code = "notify-refused"
    what = "{reason}"
    remedy = "give another address, or ask central's administrator; nothing was changed"


class NotTold(PulkError):
    """A notice was not taken by the mail server or webhook. It is sent again later."""

    code = "not-told"
    transient = True
    what = "{channel}: {reason}"
    remedy = "central tries again; look after the receiver if it stays so"


class ExportRefused(PulkError):
    """A dataset cannot be exported so: nothing ran yet, or something is in the way."""

    code = "export-refused"
    what = "it was not exported: {reason}"
    remedy = "name a place where nothing is; before anything ran, export --document"

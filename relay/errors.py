"""Why a relay refuses, or asks to be run again later."""

from __future__ import annotations

from bundle.errors import PulkError


class ConfigRefused(PulkError):
    """relay.toml is missing, not TOML, or has an unknown key or a value out of bounds."""

    code = "config-refused"
    what = "{key}: {reason}"
    remedy = "correct relay.toml, or name the folder of `relay init`; nothing was changed"


class NotEnrolled(PulkError):
    """The folder has no certificate yet: central's answer to the request was not accepted."""

    code = "not-enrolled"
    what = "this site is not enrolled yet"
    remedy = "run `pulk relay accept` with the answer of `pulk central enrol`"


class AlreadyMade(PulkError):
    """`relay init` found a relay there. Its key is never replaced."""

    code = "already-made"
    what = "there is a relay already"
    remedy = "use another folder, or go on with this one"


class OtherTick(PulkError):
    """Another tick works in this folder right now. Wait; two at once would be harmless."""

    code = "other-tick"
    transient = True
    what = "another tick is at work: process {pid} on {host}, for {age_s} s"
    remedy = "try again when it has ended; after a crash it is cleared by itself"


class NoSpace(PulkError):
    """A work bundle would use up bytes or inodes that are kept free, or more than the quota.

    Free space, or raise what [spool] allows. Central hears of it in the next report.
    """

    code = "no-space"
    transient = True
    what = "it needs {need} {unit}, and there is room for {room}"
    remedy = "free space or change [spool] in relay.toml; it is tried again at every tick"


class CarryFailed(PulkError):
    """Central could not be reached or did not answer as central does. Everything is kept."""

    code = "carry-failed"
    transient = True
    what = "{method} failed: {reason}"
    remedy = "check the network, the proxy and the address; the next tick tries again"


class NotCentral(CarryFailed):
    """Something on the way answered in central's place: a login page, a portal, another server.

    Nothing that it said counts. Log in where it asks for that, or correct `[central] url`.
    """

    code = "not-central"
    what = "{method} was not answered by central: {reason}"
    remedy = "log in to the network if it wants that, or correct [central] url"


class ProxyRefused(CarryFailed):
    """The proxy of HTTPS_PROXY lets nothing through: it wants a login (407) or forbids that.

    Name it with `user:password@` in the variable if it wants that, or ask the site's network
    people.
    """

    code = "proxy-refused"
    what = "{method} was stopped by the proxy: {reason}"
    remedy = "check HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT) and NO_PROXY"


class CentralNotProven(CarryFailed):
    """Central's TLS certificate does not count here: expired, for another name or authority.

    If central has an authority of its own, name its certificates with `[central] ca`. If it is too
    old, tell central's operator; if it is not valid yet, look after this machine's clock.
    """

    code = "central-not-proven"
    what = "the certificate of what answers is not accepted: {reason}"
    remedy = "name the authority's certificates with [central] ca, or have central's renewed"


class LoginNeeded(CarryFailed):
    """The connection over ssh that a person opened is gone, and only a person can open it again.

    Nothing tries to log in meanwhile; work goes on, and the next tick after the login carries.
    """

    code = "login-needed"
    what = "nobody is logged in to {host}: {reason}"
    remedy = "log in again: {command}"


class FarSideRefused(CarryFailed):
    """What lies at the other end of ssh is not what an exchange folder holds, or too much of it."""

    code = "far-side-refused"
    what = "the folder at the other end is refused: {reason}"
    remedy = "look at it there; nothing of it was used"


class NotYet(CarryFailed):
    """Central could not be reached several times in a row, so it is not tried at every tick.

    `pulk relay tick --now` tries at once.
    """

    code = "not-yet"
    what = "it is tried again in {wait_s} s, after {failures} failures; the last: {last}"
    remedy = "mend that, then run `pulk relay tick --now` or wait"


class SealRefused(PulkError):
    """A seal in the spool is not what its pilot signed, or belongs to no lease held here."""

    code = "seal-refused"
    what = "the seal cannot be used: {reason}"
    remedy = "it lies in quarantine; its shard is offered again"


class JournalRefused(PulkError):
    """A dead pilot's journal, or its last part, cannot be read: it was cut by a crash."""

    code = "journal-refused"
    what = "not readable from byte {at} on: {reason}"
    remedy = "what comes before counts; the rest lies in quarantine and its tasks run again"


class OutputMissing(PulkError):
    """An output that should travel home is gone from the spool, or changed."""

    code = "output-missing"
    what = "output {file} of lease {lease} is {reason}"
    remedy = "the attempt travels without it; reset the task at central if the file is needed"


class EditNotCosigned(PulkError):
    """A dataset was edited without the co-signatures that this site demands in relay.toml.

    What the site holds of it goes on by the document that it was leased from; the report says so.
    """

    code = "edit-not-cosigned"
    what = "the edit of dataset {dataset} is not co-signed as this site demands"
    remedy = "have it co-signed (`pulk dataset cosign`) and edit again with --cosignature"


class FolderTaken(PulkError):
    """A pilot folder is made where nothing is: pilots that run from one need it as it was.

    Choose another name, with the version in it for example, and name it in relay.toml.
    """

    code = "folder-taken"
    what = "there is something at {folder}"
    remedy = "choose another name, and remove the old folder when no pilot runs from it"

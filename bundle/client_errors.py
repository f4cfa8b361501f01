"""How asking central can fail."""

from __future__ import annotations

from bundle.errors import PulkError


class NoAnswer(PulkError):
    """Central did not answer. Check its address and whether it runs; calls may be repeated."""

    code = "no-answer"
    transient = True
    what = "central does not answer: {reason}"
    remedy = (
        "check the address (--central or PULK_CENTRAL) and that `pulk central serve` runs, "
        "then try again"
    )


class Refused(PulkError):
    """Central answered with a refusal; its own words follow, and with `--json` its code apart."""

    code = "refused"
    what = "{said}"


class Overloaded(Refused):
    """Central is busy, cannot use its storage now, or heard too many requests. Try again later."""

    code = "overloaded"
    transient = True


class NoAddress(PulkError):
    """Central's address is not one that HTTP has. Write it with its scheme."""

    code = "no-address"
    what = "the address is neither http:// nor https://"
    remedy = "correct --central, PULK_CENTRAL or client.toml: for example https://pulk.example.org"


class LinesBrokeOff(PulkError):
    """Central could not read on in the middle of a long list. Ask again."""

    code = "lines-broke-off"
    transient = True
    what = "central broke off in the middle of a list"
    remedy = "ask again; what came so far is not all there is"


class WrongFile(PulkError):
    """What came is not the file that was asked for, by its SHA-256. Fetch it again."""

    code = "wrong-file"
    transient = True
    what = "what came is not the file {sha256}"
    remedy = "fetch it again; if it stays so, run `pulk central fsck` there"


class NotAToken(PulkError):
    """The token file holds something else than one token. Name central's `admin.token`."""

    code = "not-a-token"
    what = "what the token file holds is not a token"
    remedy = (
        "name a file that holds one token and nothing else, such as central's admin.token, "
        "by --token-file or PULK_TOKEN_FILE"
    )


class NotCentral(PulkError):
    """Something on the way answered in central's place: a login page, a portal, another server."""

    code = "not-central"
    what = "what answers there is no central: {found}"
    remedy = (
        "check the address (--central or PULK_CENTRAL), and whether a login page or a proxy "
        "stands between"
    )

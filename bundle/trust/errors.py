"""Why a key, certificate, trust file, enrolment or request is refused."""

from __future__ import annotations

from bundle.errors import PulkError


class TrustRefused(PulkError):
    """Something that trust rests on was refused. See the subclass."""

    code = "trust-refused"
    what = "refused"
    remedy = "nothing was changed"


class WeakKey(TrustRefused):
    """A public key has the wrong length, is not canonical, or is a point of small order."""

    code = "weak-key"
    what = "public key {key}: {reason}"
    remedy = "make a new key; this one would accept forged signatures"


class KeyFileRefused(TrustRefused):
    """A private key file is missing, readable by others, a link, damaged, or of another role."""

    code = "key-file-refused"
    what = "private key: {reason}"
    remedy = "name a plain file of yours with mode 0600; a key that is there is never replaced"


class MalformedTrust(TrustRefused):
    """A trust file, certificate, enrolment request or answer is not well-formed."""

    code = "malformed-trust"
    what = "{part} is not well-formed: {reason}"
    remedy = "fetch or copy it again; nothing was changed"


class ThresholdNotMet(TrustRefused):
    """Too few different root keys signed a trust file."""

    code = "threshold-not-met"
    what = "trust version {version}: {valid} of the {whose} root keys signed, {threshold} needed"
    remedy = "have more root keys sign it (`pulk keys sign`); nothing was changed"


class WrongTrustVersion(TrustRefused):
    """A trust file follows only the version right before it."""

    code = "wrong-trust-version"
    what = "trust version {found} cannot follow version {current}"
    remedy = "bring the versions in between; nothing was changed"


class ForkedTrust(TrustRefused):
    """Two different trust files have one version: the root keys signed both, or were stolen."""

    code = "forked-trust"
    what = "this is another trust file of version {version} than the one here; the roots signed it"
    remedy = "ask the holders of the root keys which one is right; nothing was changed"


class TrustBusy(PulkError):
    """Another process takes a trust version and does not come to an end. Nothing was changed."""

    code = "trust-busy"
    what = "another process is taking a trust version since {seconds:.0f} s"
    remedy = "try again later; `fuser` on the folder names the process"
    transient = True


class NotARootKey(TrustRefused):
    """A key that is no root key, now or in the new version, can't sign a trust file."""

    code = "not-a-root-key"
    what = "key {key} is a root key neither of trust version {before} nor of version {after}"
    remedy = "sign with one of the root keys that `pulk keys show` lists; nothing was changed"


class DraftImpossible(TrustRefused):
    """The next trust version can't be prepared as asked. The reason names what is missing."""

    code = "draft-impossible"
    what = "no new trust version: {reason}"
    remedy = "nothing was changed"


class UnknownKeyName(TrustRefused):
    """A key that was named on the command line can't be found, or the name fits several."""

    code = "unknown-key-name"
    what = "{name!r} names {found} keys here"
    remedy = "give more of its hex digits, or a file that holds it; see `pulk keys show`"


class UnknownRegistrar(TrustRefused):
    """A certificate is signed by a key that is no registrar in the trust file here."""

    code = "unknown-registrar"
    what = "the certificate is signed by {key}, no registrar of trust version {trust_version}"
    remedy = "bring a newer trust file, or enrol the site again"


class CertificateRefused(TrustRefused):
    """A site's certificate is damaged, forged, or names another site or key than it should."""

    code = "certificate-refused"
    what = "the site's certificate: {reason}"
    remedy = "enrol the site again with `pulk relay init` and `pulk central enrol`"


class KeyRevoked(TrustRefused):
    """The site's key, or the registrar's that certified it, was revoked in the trust file."""

    code = "key-revoked"
    what = "the key {key} that site {site} rests on was revoked"
    remedy = "enrol the site again; with a new key if it is the site's own that was revoked"


class EnrolmentRefused(TrustRefused):
    """An enrolment request or answer does not prove what it must."""

    code = "enrolment-refused"
    what = "enrolment: {reason}"
    remedy = "make the request again with `pulk relay init`; nothing was changed"


class WrongFingerprint(TrustRefused):
    """The words read out by phone are not those of the key: somebody may have exchanged it."""

    code = "wrong-fingerprint"
    what = "the fingerprint is {found!r}, not {expected!r}"
    remedy = "compare again by phone; if it stays so, the file was exchanged under way"


class RequestRefused(TrustRefused):
    """The signed header of a site's HTTP request is missing, malformed, too old, or forged."""

    code = "request-refused"
    what = "the request's signature: {reason}"
    remedy = "sign each request anew; check the clock if the time is named"

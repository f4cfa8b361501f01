"""Why a bundle is refused. Each leaves the state as it was and the file where it lies."""

from __future__ import annotations

from bundle.errors import PulkError


class BundleRefused(PulkError):
    """A bundle was refused before anything of it was used. See the subclass."""

    code = "bundle-refused"
    what = "the bundle was refused"
    remedy = "fetch or copy it again; nothing of it was used"


class Parkable:
    """Marks refusals that newer trust or a decision can lift: keep the file, look again later."""


class NotABundleFile(BundleRefused):
    """The path is a link, a folder, a pipe, or cannot be read. Give the path of a plain file."""

    code = "not-a-bundle-file"
    what = "not a readable plain file: {reason}"
    remedy = "name the bundle file itself; links are never followed"


class BadMagic(BundleRefused):
    """The file does not start as a bundle does; a text-mode transfer also does this."""

    code = "bad-magic"
    what = "not a bundle: it starts with {found}"
    remedy = "check the path; if it was sent as text, send it again as binary"


class UnsupportedVersion(BundleRefused):
    """The bundle needs a newer reader, or is older than this one reads. Install the one named."""

    code = "unsupported-version"
    what = "format {format}, readable from version {reader_min} on; this program reads {readable}"
    remedy = "install a pulk that reads bundle format {install}, then import the file again"


class TooLarge(BundleRefused):
    """A declared or real size is beyond its limit. The sender must split it."""

    code = "too-large"
    what = "{part} has {size} bytes or rows, at most {size_max}"
    remedy = "have the sender split it; nothing of it was used"


class Truncated(BundleRefused):
    """The file ends before what its header declares. Copy or fetch it again."""

    code = "truncated"
    what = "the file has {found_bytes} bytes, its header declares {declared_bytes}"
    remedy = "copy or fetch it again; nothing of it was used and nothing changed"


class TrailingBytes(BundleRefused):
    """The file goes on after what its header declares. Copy or fetch it again."""

    code = "trailing-bytes"
    what = "the file has {found_bytes} bytes, its header declares {declared_bytes}"
    remedy = "copy or fetch it again; nothing of it was used and nothing changed"


class MalformedBundle(BundleRefused):
    """Header, signatures, chunk table and manifest do not agree. Copy or fetch it again."""

    code = "malformed-bundle"
    what = "{part}: {reason}"
    remedy = "copy or fetch it again; if it stays so, have the sender make it again"


class MalformedManifest(BundleRefused):
    """The signed manifest does not have the form that its version prescribes."""

    code = "malformed-manifest"
    what = "the manifest is not well-formed: {reason}"
    remedy = "have the sender make it again with a current version; nothing of it was used"


class WrongKind(BundleRefused):
    """A bundle of this kind is not accepted at this place."""

    code = "wrong-kind"
    what = "a {kind} bundle, here only {allowed}"
    remedy = "carry it to where it belongs; nothing of it was used"


class WrongAudience(BundleRefused):
    """The bundle is meant for somebody else."""

    code = "wrong-audience"
    what = "it is for {audience}, not for {here}"
    remedy = "carry it to {audience}; nothing of it was used"


class UnknownKey(BundleRefused, Parkable):
    """No signature is by a key that the trust file here knows; a newer trust file may."""

    code = "unknown-key"
    what = "signed by {key}, which trust version {trust_version} does not know"
    remedy = (
        "keep the file; bring a newer trust file, enrol the site, or add the user "
        "(`pulk central user add`), and import it again"
    )


class RevokedKey(BundleRefused, Parkable):
    """The key was revoked and this bundle is not among those that are kept."""

    code = "revoked-key"
    what = "signed by {key}, revoked in the trust file; this bundle is not among the kept ones"
    remedy = "keep the file; `pulk keys requalify` can admit it, then it counts by itself"


class KeyNotAllowed(BundleRefused):
    """The key is known, or claims a certificate, but may not sign bundles of this kind."""

    code = "key-not-allowed"
    what = "{key} may not sign this {kind} bundle: {reason}"
    remedy = "have it made and signed by its rightful producer; nothing of it was used"


class BadSignature(BundleRefused):
    """The signature does not fit the manifest's bytes: damaged or altered under way."""

    code = "bad-signature"
    what = "the signature by {key} does not fit the manifest"
    remedy = "copy or fetch it again; if it stays so, it was altered: tell both operators"


class ChunkMismatch(BundleRefused):
    """A chunk's bytes are not those that the manifest or the chunk table names."""

    code = "chunk-mismatch"
    what = "chunk {place} ({kind} {name!r}): {reason}"
    remedy = "copy or fetch the bundle again; nothing of this chunk was used"


class AbsentChunk(BundleRefused):
    """This copy of the bundle comes without a chunk: it is a part, or a delta for somebody else."""

    code = "absent-chunk"
    what = "chunk {place} ({kind} {name!r}) is not in this copy of the bundle"
    remedy = "join it with its other parts, or have the sender send it whole"


class NotOneBundle(BundleRefused):
    """Files that were to be joined are parts of different bundles, or were signed anew between."""

    code = "not-one-bundle"
    what = "this is no part of the same bundle as {first}"
    remedy = "join parts of one bundle id only: `pulk bundle ls` shows them"


class Bomb(BundleRefused):
    """A chunk's compressed form expands beyond what is allowed or declared."""

    code = "bomb"
    what = "chunk {place} ({kind} {name!r}): {reason}"
    remedy = "have the sender make it again; nothing of this chunk was used"


class NoSuchChunk(BundleRefused):
    """The bundle holds no chunk of that kind and name."""

    code = "no-such-chunk"
    what = "no chunk {kind} {name!r}"
    remedy = "list the chunks with `pulk bundle ls`"


class SourceChanged(PulkError):
    """A file changed while it was packed. Pack again once nothing writes to it."""

    code = "source-changed"
    what = "the file changed while it was packed"
    remedy = "wait until nothing writes to it, then pack again; no bundle was made"


class DraftRefused(PulkError):
    """A bundle that its own reader would refuse was to be written; the reason names the limit."""

    code = "draft-refused"
    what = "no bundle can be made: {reason}"
    remedy = "put less into one bundle, or correct the named field; no bundle was made"

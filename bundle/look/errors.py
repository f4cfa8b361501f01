"""Why something cannot be shown of a bundle."""

from __future__ import annotations

from bundle.errors import PulkError


class LookRefused(PulkError):
    """What was asked of a bundle cannot be shown. See the subclass."""

    code = "look-refused"
    what = "it cannot be shown"
    remedy = "nothing was changed"


class NoTrustFile(LookRefused):
    """There is no trust file at the given path, so nothing can be verified. Name the right one."""

    code = "no-trust-file"
    what = "no trust file can be read here: {reason}"
    remedy = "name a relay's or central's trust file with --trust; without it nothing is verified"


class AmbiguousChunk(LookRefused):
    """Several chunks fit what was given. Name one by its place."""

    code = "ambiguous-chunk"
    what = "{given!r} fits {count} chunks: {fits}"
    remedy = "give a place of `pulk bundle ls`, or more characters of the name"


class PiecesMismatch(LookRefused):
    """The pieces of a large file are those signed, but do not make the file they are named for."""

    code = "pieces-mismatch"
    what = "the pieces do not make the file {file}"
    remedy = "drop what was written; have the producer make the bundle again"


class BinaryToTerminal(LookRefused):
    """The data would confuse or steer the terminal. Write it to a file."""

    code = "binary-to-terminal"
    what = "chunk {given!r} is not plain text and stdout is a terminal"
    remedy = "write it to a file with --out PATH, or send stdout elsewhere"


class NoJson(LookRefused):
    """A file, or a chunk of bytes, has no form as JSON. Leave --json away, or name a file."""

    code = "no-json"
    what = "{given!r} holds bytes, which are no JSON"
    remedy = "leave --json away, or write it to a file with --out PATH"


class QueryRefused(LookRefused):
    """SQLite refused the query: it is no SQL, names no table of `--schema`, or would write."""

    code = "query-refused"
    what = "the query was refused: {reason}"
    remedy = "see the tables with --schema; a query is one statement that only reads"


class NoSqliteUtils(LookRefused):
    """`pulk bundle query` needs the Python package sqlite-utils, which is not installed here."""

    code = "no-sqlite-utils"
    what = "queries need the package sqlite-utils, which cannot be imported: {reason}"
    remedy = "install it (`python3 -m pip install sqlite-utils`); ls, cat and diff work without it"

"""What can go wrong with a medium, and with what was carried on it."""

from __future__ import annotations

from bundle.errors import PulkError


class MediumFailed(PulkError):
    """A directory or a file on a medium cannot be read or written. Check the medium."""

    code = "medium-failed"
    transient = True
    what = "{action} failed: {reason}"
    remedy = "check that it is there, whole and has space, then run it again; nothing is given up"


class SameFolder(PulkError):
    """Source and target are one folder, so there would be no copy. Name two folders."""

    code = "same-folder"
    what = "{action} needs two folders; both names given are of this one"
    remedy = "name the medium and a folder that is not on it; nothing was changed"


class NoRoom(PulkError):
    """What lies on the medium does not fit on the disk here. Make room and import it again."""

    code = "no-room"
    transient = True
    what = "it needs {need} bytes here, and {free} are free"
    remedy = "make room, then import the medium again; it was not changed"


class PartTooSmall(PulkError):
    """One chunk with the bundle's head is larger than a part may be. Allow larger parts."""

    code = "part-too-small"
    what = "parts of {size} bytes are too small: chunk {place} alone makes one of {need} bytes"
    remedy = "allow at least {need} bytes: that is the smallest size possible for this bundle"


class Incomplete(PulkError):
    """The parts given do not make a whole bundle. Nothing was written; bring the other parts."""

    code = "incomplete"
    what = "bundle {bundle} lacks {count} of {chunks} chunks: {missing}{damaged}"
    remedy = "add the parts or copies that hold these chunks, in any order"


class NothingToJoin(PulkError):
    """None of the files given can be read as a part of a bundle."""

    code = "nothing-to-join"
    what = "none of {count} files is a part of a bundle: {reason}"
    remedy = "name the part files themselves; copy them again where they are damaged"


class SeveralBundles(PulkError):
    """Parts of several bundles were given, and one file to join them into. Name a directory."""

    code = "several-bundles"
    what = "the parts are of {count} bundles"
    remedy = "give a directory with --out: each bundle gets a file named by its id"


class NoCard(PulkError):
    """The medium has no readable card, so nobody knows what was written to it."""

    code = "no-card"
    what = "no card of what was written: {reason}"
    remedy = "export to it again; `pulk bundle import` takes what is there without a card"


class Damaged(PulkError):
    """A file on a medium is a bundle of which no chunk is whole. Have it copied again."""

    code = "damaged"
    what = "no chunk of bundle {bundle} is whole in it"
    remedy = "copy it again from where it came; it goes out again anyway until a receipt is there"


class PartsFull(PulkError):
    """Parts that wait for the rest of their bundles take all the space that they may have."""

    code = "parts-full"
    what = "{held} bytes of parts wait already, {need} more would exceed {size_max}"
    remedy = "bring the parts that are missing, or delete parts here that nobody will complete"


class CustodyHeld(PulkError):
    """The folder is a program's own: only central's signed word frees what lies there."""

    code = "custody-held"
    what = "this folder belongs to a {owner}; nothing in it is freed by hand"
    remedy = "leave it to the {owner}: results stay until central's receipt says that they are safe"


class NotCarried(PulkError):
    """What was written to the medium does not read back. Nothing of it counts as carried."""

    code = "not-carried"
    what = "{count} files do not read back as written: {names}"
    remedy = "take another medium and export again; nothing was freed"

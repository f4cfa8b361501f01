"""Names that become files in a task's directory, and names of steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bundle.dataset.refusals import DuplicateName, UnsafeName
from bundle.limits import NAME_CHARS_MAX

STEP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
STEP_NAME_CHARS_MAX = 128
PATH_BYTES_MAX = 1024

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_step_name(name: str, where: str) -> None:
    """Refuse a step's name that is not a short word of letters, digits and `_ . + -`."""
    if len(name) > STEP_NAME_CHARS_MAX or not STEP_NAME.fullmatch(name):
        raise UnsafeName(
            where=where,
            name=name[:200],
            reason=f"not 1 to {STEP_NAME_CHARS_MAX} letters, digits, and _ . + -",
            hint="use letters, digits, and _ . + -, starting with a letter or digit",
        )


def check_path(name: str, where: str) -> None:
    """Refuse a file name that is not a relative path below the task's directory."""
    reason = _path_fault(name)
    if reason:
        hint = "use a relative path without empty, . or .. parts"
        raise UnsafeName(where=where, name=name[:200], reason=reason, hint=hint)


def check_variable(name: str, value: str, where: str) -> None:
    """Refuse an environment variable that a process cannot be given."""
    if not _VARIABLE.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise UnsafeName(
            where=where,
            name=name[:200],
            reason="not a variable's name",
            hint="use letters, digits and _, not starting with a digit",
        )
    check_text(value, where)


def check_text(text: str, where: str) -> None:
    """Refuse an argument or a value that a process cannot be given."""
    if "\x00" in text or not _encodes(text):
        raise UnsafeName(
            where=where,
            name=text[:200],
            reason="it holds a NUL or half a character",
            hint="remove it",
        )


def check_apart(paths: Iterable[tuple[str, str, str]]) -> None:
    """Refuse two files of one directory with the same name, or one that is the other's folder.

    Args:
        paths: (name, what it is, path inside the document).
    """
    taken: dict[str, str] = {}
    rows = list(paths)
    for name, kind, where in rows:
        if name in taken:
            raise DuplicateName(where=where, name=name, taken_by=taken[name])
        taken[name] = f"{kind} ({where})"
    for name, _, where in rows:
        for folder in _folders(name):
            if folder in taken:
                raise DuplicateName(where=where, name=folder, taken_by=taken[folder])


def _folders(name: str) -> Iterator[str]:
    at = name.rfind("/")
    while at > 0:
        yield name[:at]
        at = name.rfind("/", 0, at)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path_fault(name: str) -> str:
    if not name:
        return "it is empty"
    if not _encodes(name):
        return "it is not valid Unicode"
    if _CONTROL.search(name):
        return "it holds a control character"
    if "$(" in name:
        return "macros are not expanded in the names of files"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it is absolute or has an empty, . or .. part"
    if any(len(part.encode()) > NAME_CHARS_MAX for part in parts):
        return f"a part is longer than {NAME_CHARS_MAX} bytes"
    if len(name.encode()) > PATH_BYTES_MAX:
        return f"it is longer than {PATH_BYTES_MAX} bytes"
    return ""

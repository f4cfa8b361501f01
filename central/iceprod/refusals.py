"""Why a config of IceProd is refused; `where` is the path inside it."""

from __future__ import annotations

from bundle.errors import PulkError


class IceprodRefused(PulkError):
    """An IceProd config lacks a key or holds one that makes no sense. Correct the config."""

    code = "iceprod-refused"
    what = "{reason}"
    remedy = "{hint}"


class UnknownVersion(IceprodRefused):
    """The config's `version` is none of 3, 3.1 and 3.2. Convert it with IceProd's own tools."""

    code = "iceprod-version"


class EndlessMacro(IceprodRefused):
    """A macro of an IceProd config grows without end: it leads back to itself. Break the circle."""

    code = "iceprod-endless"
    what = "{text!r} is never expanded to the end: {reason}"
    remedy = "a parameter leads back to itself; break the circle"


class UnclosedMacro(IceprodRefused):
    """A `$(` of an IceProd config is never closed, which stops IceProd as well. Close it."""

    code = "iceprod-unclosed"
    what = "a $( in {text!r} is never closed"
    remedy = "close it; IceProd stops there as well"

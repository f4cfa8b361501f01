"""Why a site's batch system did not do, or did not say, what a relay asked."""

from __future__ import annotations

from bundle.errors import PulkError


class SubmitFailed(PulkError):
    """The site did not take the batch job. Look at the reason; the next tick tries again."""

    code = "submit-failed"
    transient = True
    what = "pilot {name} could not be started: {reason}"
    remedy = "correct the reason; the next tick tries again"


class SchedulerFailed(PulkError):
    """A program of the batch system is missing, failed, or took too long.

    Until it answers again pilots are *unknown*: none is salvaged, none started in its place.
    """

    code = "scheduler-failed"
    transient = True
    what = "{program} failed: {reason}"
    remedy = "try it by hand on this machine; the next tick asks again"


class OutputRefused(PulkError):
    """A program of the batch system printed what cannot be read as it should be printed.

    Pilots are *unknown* meanwhile. A wrapper around the program, or a version never seen, may be
    why; the place and what stands there are named.
    """

    code = "scheduler-output"
    what = "{program} printed {found} where {expected} was expected"
    remedy = "run the program by hand, and tell Pulk's maintainers its version and that line"


class BindingsMissing(PulkError):
    """HTCondor's Python bindings are not installed beside this relay.

    Pilots are *unknown* meanwhile, and none is started.
    """

    code = "bindings-missing"
    what = "{python} has no HTCondor bindings (htcondor2)"
    remedy = "install them where the relay is installed: pip install 'pulk[htcondor]'"


class ExtraMissing(PulkError):
    """What an adapter needs is not installed beside this relay.

    Pilots are *unknown* meanwhile, and none is started.
    """

    code = "extra-missing"
    what = "{python} has no {package}"
    remedy = "install it where the relay is installed: pip install 'pulk[{extra}]'"

"""Why a dataset is refused: every reason names its place inside the document."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from bundle.errors import PulkError


class DatasetRefused(PulkError):
    """A dataset says something that cannot be run as written. Correct the document."""

    code = "dataset-refused"
    what = "{reason}"
    remedy = "correct the document; nothing was changed"
    line: int = 0  # of the text that it was written in; 0 where that is not known
    path: str = ""  # inside the document


class CycleFound(DatasetRefused):
    """Steps need each other in a circle, so none could start. Remove one of the needs."""

    code = "cycle-found"
    what = "the steps need each other in a circle: {steps}"
    remedy = "remove one of these needs"


class UnknownStep(DatasetRefused):
    """A need or an input names a step that the dataset has not. Correct the name."""

    code = "unknown-step"
    what = "there is no step {step}"
    remedy = "{hint}"


class UnknownOutput(DatasetRefused):
    """An input names an output that its step does not declare. Declare it or correct the name."""

    code = "unknown-output"
    what = "step {step} declares no output {output}"
    remedy = "{hint}"


class NotNeeded(DatasetRefused):
    """An input comes from a step that is not among the needs. Add the step to `needs`."""

    code = "not-needed"
    what = "the input comes from step {step}, which is not in needs"
    remedy = "add {step} to needs"


class DuplicateName(DatasetRefused):
    """Two things that are told apart by name have the same one. Rename one of them."""

    code = "duplicate-name"
    what = "the name {name!r} is taken by {taken_by}"
    remedy = "give one of the two another name"


class UnsafeName(DatasetRefused):
    """A name could leave the task's directory or confuse a shell or a table. Choose another."""

    code = "unsafe-name"
    what = "{name!r} is not usable as a name: {reason}"
    remedy = "{hint}"


class BeyondLimit(DatasetRefused):
    """A number or a size is outside what the format carries. Split the dataset or correct it."""

    code = "beyond-limit"
    what = "{quantity} is {found}, allowed is {allowed}"
    remedy = "correct the number, or split the dataset"


class UnresolvedMacro(DatasetRefused):
    """A `$(name)` names nothing. Define it under `[parameters]`, or write `$$(` for the text."""

    code = "unresolved-macro"
    what = "{macro} names no macro and no parameter"
    remedy = "{hint}"


class BadArithmetic(DatasetRefused):
    """A `$(=...)` cannot be worked out for every job. Correct the expression."""

    code = "bad-arithmetic"
    what = "$(={text}): {reason}"
    remedy = "correct the expression: docs/dataset-document.md tells what it may hold"


class ParameterCycle(DatasetRefused):
    """Parameters expand to each other in a circle. Remove one of the macros."""

    code = "parameter-cycle"
    what = "the parameters expand to each other in a circle: {names}"
    remedy = "remove one of these macros"


def meant(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return `did you mean X?` where a known word is close to `word`, else `otherwise`.

    The search is quadratic in the words' lengths and linear in their number: call it only on the
    way to a refusal.
    """
    close = get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else otherwise

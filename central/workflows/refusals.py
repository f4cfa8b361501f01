"""Why a recorded workflow is refused; `where` is the file and the path inside it."""

from __future__ import annotations

from bundle.errors import PulkError


class WorkflowRefused(PulkError):
    """A recorded workflow lacks a field or holds one that makes no sense. Correct the file."""

    code = "workflow-refused"
    what = "{reason}"
    remedy = "{hint}"


class UnknownSchema(WorkflowRefused):
    """The file's schemaVersion is none of 1.0 to 1.5. Convert the file with WfCommons' tools."""

    code = "unknown-schema"


class UnknownTask(WorkflowRefused):
    """A parent, child or execution entry names a task that the file has not. Correct it."""

    code = "unknown-task"
    what = "{reference!r} is no task of this file"


class NamesForIds(WorkflowRefused):
    """Schema 1.5 refers to tasks by id, this file by name: read as it stands it has no edges."""

    code = "names-for-ids"
    what = "{reference!r} is the name of a task where schema {version} wants its id"


class DuplicateTask(WorkflowRefused):
    """Two tasks have the same id, or a reference by name fits several. Make them distinct."""

    code = "duplicate-task"
    what = "{reference!r} stands for more than one task"

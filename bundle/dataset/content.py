"""What is checked of a dataset besides its graph: limits, names, inputs, files, requests."""

from __future__ import annotations

from collections.abc import Iterator

from bundle.dataset import containers, foreign, names
from bundle.dataset.abilities import SIGNALS
from bundle.dataset.asks import NETWORK_CLASSES, PRIORITY_MAX
from bundle.dataset.foreign import Which
from bundle.dataset.refusals import (
    BeyondLimit,
    DatasetRefused,
    DuplicateName,
    NotNeeded,
    UnknownOutput,
    meant,
)
from bundle.dataset.spec import Command, Dataset, Per, Step, Synthetic
from bundle.limits import (
    DOCUMENT_FILE_BYTES_MAX,
    DOCUMENT_LIMITS,
    FILE_BYTES_MAX,
    JOBS_MAX,
    NAME_CHARS_MAX,
    STEPS_MAX,
)
from bundle.records import learning, rules

DESCRIPTION_CHARS_MAX = 16_384
SEED_MAX = 2**63 - 1
FAILURES_MAX_MAX = 1000
CPU_MILLI_MAX = 1_000_000  # a thousand cores
GPU_MILLI_MAX = 1_000_000
MEMORY_MIB_MAX = 1 << 26  # 64 TiB
DISK_BYTES_MAX = 1 << 50
BLOCK_JOBS_MAX = 65_536
BLOCKS_MAX = 65_536  # of one step: each has a row at central
DURATION_MS_MAX = 365 * 86_400_000
DEADLINE_US_MAX = 253_402_300_800_000_000  # the year 10000
NAMES_MAX = 256  # sites or software that a document lists in one place


def check_dataset(dataset: Dataset) -> None:
    """Refuse limits, names and files of the dataset itself, and two steps of one name."""
    names.check_text(dataset.name, "name")
    names.check_text(dataset.description, "description")
    _within("name", "the name's length", len(dataset.name), 1, NAME_CHARS_MAX)
    _within("description", "its length", len(dataset.description), 0, DESCRIPTION_CHARS_MAX)
    _within("jobs", "the number of jobs", dataset.jobs, 1, JOBS_MAX)
    _within("seed", "the seed", dataset.seed, 0, SEED_MAX)
    _within("steps", "the number of steps", len(dataset.steps), 1, STEPS_MAX)
    if problem := learning.problem(dataset.learning):
        raise DatasetRefused(where="learning", reason=problem)
    for name, content in dataset.files:
        where = f'files."{name}"'
        names.check_path(name, where)
        _within(where, "the file's size in bytes", len(content), 0, DOCUMENT_FILE_BYTES_MAX)
    _check_account(dataset)
    elements = sum(_elements(step) for step in dataset.steps)
    elements += sum(len(entries) for _, entries in dataset.lists)
    _within("steps", "the size in elements", elements, 1, DOCUMENT_LIMITS.elements_max // 2)
    taken: dict[str, int] = {}
    for index, step in enumerate(dataset.steps):
        where = f"steps[{index}].name"
        names.check_step_name(step.name, where)
        if step.name in taken:
            raise DuplicateName(where=where, name=step.name, taken_by=f"steps[{taken[step.name]}]")
        taken[step.name] = index


def check_step(dataset: Dataset, index: int, step: Step) -> None:
    """Refuse whatever of one step cannot be run; its needs are known to exist."""
    here = f"steps[{index}]"
    _check_inputs(dataset, step, here)
    foreign.check(step.foreign, f"{here}.foreign", is_per_job=step.per is Per.JOB)
    _check_directory(dataset, step, here)
    _check_run(step, here)
    for name, value in step.environment:
        names.check_variable(name, value, f"{here}.environment.{name}")
    ask = step.request
    _within(f"{here}.request.cpu", "milli-cores", ask.cpu_milli, 1, CPU_MILLI_MAX)
    _within(f"{here}.request.gpu", "milli-shares", ask.gpu_milli, 0, GPU_MILLI_MAX)
    _within(f"{here}.request.memory", "memory in MiB", ask.memory_mib, 1, MEMORY_MIB_MAX)
    _within(f"{here}.request.disk", "disk in bytes", ask.disk_bytes, 0, DISK_BYTES_MAX)
    _within(f"{here}.request.walltime", "milliseconds", ask.walltime_ms, 1, DURATION_MS_MAX)
    _within(f"{here}.failures_max", "failures_max", step.failures_max, 1, FAILURES_MAX_MAX)
    if step.per is Per.BLOCK:
        where, jobs = f"{here}.jobs_per_task", step.block_jobs
        _within(where, "the number of jobs in a block", jobs, 1, BLOCK_JOBS_MAX)
        _within(where, "the number of blocks", -(-dataset.jobs // jobs), 1, BLOCKS_MAX)
    if problem := rules.problem(step.retry):
        raise DatasetRefused(where=f"{here}.retry", reason=problem)
    _check_requires(step, f"{here}.requires")
    _check_abilities(step, here)
    if step.container:
        _check_container(step, f"{here}.container")


def _check_account(dataset: Dataset) -> None:
    account = dataset.account
    lists = {"sites.allow": account.allow, "sites.deny": account.deny}
    for where, sites in lists.items():
        _within(where, "the number of sites", len(sites), 0, NAMES_MAX)
    named = [("user", account.user), ("group", account.group)]
    named += [(f"{where}[{n}]", one) for where, of in lists.items() for n, one in enumerate(of)]
    for where, text in named:
        names.check_text(text, where)
        _within(where, "the name's length", len(text), 0, NAME_CHARS_MAX)
    _within("priority", "the priority", account.priority, -PRIORITY_MAX, PRIORITY_MAX)
    _within("deadline", "microseconds of UTC", account.deadline_us, 0, DEADLINE_US_MAX)


def _check_requires(step: Step, here: str) -> None:
    ask = step.requires
    named = {"os": ask.os, "arch": ask.arch, "libc": ask.libc, "gpu_model": ask.gpu_model}
    named |= {f"software[{place}]": one for place, one in enumerate(ask.software)}
    _within(f"{here}.software", "the number of names", len(ask.software), 0, NAMES_MAX)
    for name, text in named.items():
        names.check_text(text, f"{here}.{name}")
        _within(f"{here}.{name}", "the name's length", len(text), 0, NAME_CHARS_MAX)
    if ask.network and ask.network not in NETWORK_CLASSES:
        reason = f"{ask.network!r} is none of {', '.join(NETWORK_CLASSES)}"
        raise DatasetRefused(where=f"{here}.network", reason=reason)
    _within(f"{here}.gpu_memory", "memory in MiB", ask.gpu_memory_mib, 0, MEMORY_MIB_MAX)
    if not step.request.gpu_milli and (ask.gpu_model or ask.gpu_memory_mib):
        raise DatasetRefused(where=here, reason="it names a GPU, but request.gpu is 0")


def _check_container(step: Step, here: str) -> None:
    names.check_text(step.container, here)
    problem = containers.problem(step.container)
    if isinstance(step.run, Synthetic):
        problem = "the built-in payload runs in no container"
    if problem:
        raise DatasetRefused(where=here, reason=problem)


def _check_abilities(step: Step, here: str) -> None:
    kept, elastic = step.checkpoint, step.elastic
    _within(f"{here}.checkpoint.files", "the number of names", len(kept.files), 0, NAMES_MAX)
    _within(f"{here}.checkpoint.every", "milliseconds", kept.every_ms, 0, DURATION_MS_MAX)
    for where, most, found in (
        ("cpus_max", CPU_MILLI_MAX, elastic.cpu_milli_max),
        ("memory_max", MEMORY_MIB_MAX, elastic.memory_mib_max),
    ):
        _within(f"{here}.elastic.{where}", "milli-cores or MiB", found, 0, most)
    for where, signal in (("checkpoint", kept.signal), ("elastic", elastic.signal)):
        if signal and signal not in SIGNALS:
            reason = f"{signal!r} is none of {', '.join(SIGNALS)}"
            raise DatasetRefused(where=f"{here}.{where}.signal", reason=reason)


def _check_inputs(dataset: Dataset, step: Step, here: str) -> None:
    needed = frozenset(step.needs)
    for place, one in enumerate(step.inputs):
        where = f"{here}.inputs[{place}]"
        if one.step not in needed:
            known = 0 <= one.step < len(dataset.steps)
            raise NotNeeded(where=where, step=dataset.steps[one.step].name if known else one.step)
        parent = dataset.steps[one.step]
        if not 0 <= one.output < len(parent.outputs):
            hint = f"it declares {len(parent.outputs)}"
            raise UnknownOutput(where=where, step=parent.name, output=one.output, hint=hint)


def _check_directory(dataset: Dataset, step: Step, here: str) -> None:
    """Everything that lies in one task's directory must have a safe name of its own."""
    known = {name for name, _ in dataset.files} if step.files else set()
    for place, name in enumerate(step.files):
        if name not in known:
            hint = meant(name, known, f'add [files."{name}"] to the document')
            where = f"{here}.files[{place}]"
            raise DatasetRefused(where=where, reason=f"there is no file {name!r}: {hint}")
    rows = list(_directory(step, here))
    for name, _, where in rows:
        names.check_path(name, where)
    names.check_apart(rows)
    if _has_job_folders(dataset, step):
        _check_job_folders(rows)


def _has_job_folders(dataset: Dataset, step: Step) -> bool:
    """Return whether inputs of several tasks lie in its directory, in folders named after those."""
    if any(one.which is Which.ALL and one.inputs for one in step.foreign):
        return True
    fans = (dataset.steps[one.step].per not in (step.per, Per.DATASET) for one in step.inputs)
    return step.per is not Per.JOB and any(fans)


def _check_job_folders(rows: list[tuple[str, str, str]]) -> None:
    """The inputs of a fan-in lie in folders named after jobs; nothing else may."""
    for name, kind, where in rows:
        head = name.split("/")[0]
        if kind != "an input" and head.isascii() and head.isdecimal():
            raise DuplicateName(where=where, name=head, taken_by="the folders of the jobs' inputs")


def _directory(step: Step, here: str) -> Iterator[tuple[str, str, str]]:
    for place, one in enumerate(step.inputs):
        yield one.name, "an input", f"{here}.inputs[{place}]"
    for place, need in enumerate(step.foreign):
        for _, name in need.inputs:
            yield name, "an input", f"{here}.foreign[{place}]"
    for place, made in enumerate(step.generated):
        yield made.name, "a generated input", f"{here}.generated[{place}]"
    for place, file in enumerate(step.files):
        yield file, "a file of the document", f"{here}.files[{place}]"
    for place, output in enumerate(step.outputs):
        yield output.name, "an output", f"{here}.outputs[{place}]"
    for place, name in enumerate(step.checkpoint.files):
        yield name, "a checkpoint", f"{here}.checkpoint.files[{place}]"


def _check_run(step: Step, here: str) -> None:
    for place, made in enumerate(step.generated):
        where = f"{here}.generated[{place}]"
        _within(where, "its size in bytes", made.size_bytes, 0, FILE_BYTES_MAX)
        _within(where, "its seed", made.seed, 0, SEED_MAX)
    match step.run:
        case Command(argv):
            if not argv or not argv[0]:
                raise DatasetRefused(where=f"{here}.command", reason="it names no program")
            for place, argument in enumerate(argv):
                names.check_text(argument, f"{here}.command[{place}]")
        case Synthetic(cpu_ms, wall_ms, memory_mib, output_bytes):
            where = f"{here}.synthetic"
            _within(f"{where}.cpu", "milliseconds", cpu_ms, 0, DURATION_MS_MAX)
            _within(f"{where}.wall", "milliseconds", wall_ms, 0, DURATION_MS_MAX)
            _within(f"{where}.memory", "memory in MiB", memory_mib, 0, MEMORY_MIB_MAX)
            if len(output_bytes) != len(step.outputs):
                reason = f"{len(output_bytes)} sizes for {len(step.outputs)} outputs"
                raise DatasetRefused(where=f"{where}.outputs", reason=reason)
            for place, size in enumerate(output_bytes):
                _within(f"{where}.outputs[{place}]", "bytes", size, 0, FILE_BYTES_MAX)


def _elements(step: Step) -> int:
    """Return about how many elements of canonical msgpack the step takes; never less."""
    rows = 4 * len(step.inputs) + 4 * len(step.generated) + 3 * len(step.outputs)
    rows += len(step.checkpoint.files) + sum(5 + 3 * len(one.inputs) for one in step.foreign)
    run = len(step.run.argv) if isinstance(step.run, Command) else len(step.run.output_bytes)
    return 64 + len(step.needs) + rows + run + len(step.files) + 2 * len(step.environment)


def _within(where: str, quantity: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        allowed = f"{least} to {most}"
        raise BeyondLimit(where=where, quantity=quantity, found=found, allowed=allowed)

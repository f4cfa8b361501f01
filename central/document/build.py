"""From the form that a person filled in to a `Dataset`: names become indexes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bundle.dataset.abilities import NO_CHECKPOINT, NOT_ELASTIC, Checkpoint, Elastic
from bundle.dataset.asks import Account, Requires
from bundle.dataset.refusals import (
    DatasetRefused,
    DuplicateName,
    UnknownOutput,
    UnknownStep,
    meant,
)
from bundle.dataset.seeds import named_seed
from bundle.dataset.spec import (
    Command,
    Dataset,
    Generated,
    Input,
    Output,
    Per,
    Request,
    Step,
    Synthetic,
)
from central.document import axes, policy, steps
from central.document.beside import bytes_beside
from central.document.form import DatasetForm, FileForm, InputForm, RequiresForm, StepForm
from central.document.origin import Origin
from central.document.others import Find, Others
from central.document.steps import Entry, Laid, Meant


def dataset(
    form: DatasetForm, base: Path | None, find: Find | None = None
) -> tuple[Dataset, Origin]:
    """Make the Dataset; its graph and limits are still to be checked. Raises DatasetRefused.

    Returned with it: which place of the document each step and each axis came from. `find` asks
    for other datasets.
    """
    made = axes.axes(form, base)
    files = {name: _content(name, one, base) for name, one in form.files.items()}
    laid = steps.laid_out(form, files)
    outputs = [{one.name: place for place, one in enumerate(s.outputs)} for s in form.steps]
    others = Others(find)
    needs = [others.needs_of(one, f"steps[{place}]") for place, one in enumerate(form.steps)]
    found = Dataset(
        name=form.name,
        jobs=made.jobs,
        open=form.open,
        seed=form.seed,
        steps=tuple(
            replace(_Builder(form, laid, outputs, one).step(), foreign=needs[one.index][0])
            for one in laid.entries
        ),
        description=form.description,
        account=_account(form),
        parameters=tuple(sorted(made.parameters.items())),
        files=tuple(sorted(files.items())),
        learning=policy.learning(form.learning),
        lists=tuple(sorted(made.lists.items())),
    )
    indexes = tuple(one.index for one in laid.entries)
    words = tuple(one.words for one in laid.entries)
    foreign = tuple(needs[one.index][1] for one in laid.entries)
    return found, Origin(indexes, words, made.names, foreign)


class _Builder:
    """Makes one step; holds the tables that all steps share."""

    def __init__(
        self, form: DatasetForm, laid: Laid, outputs: list[dict[str, int]], entry: Entry
    ) -> None:
        self._form, self._laid, self._outputs, self._entry = form, laid, outputs, entry
        self._step: StepForm = form.steps[entry.index]
        self._here = f"steps[{entry.index}]"

    def step(self) -> Step:
        step, ask = self._step, self._step.request
        needs = [
            one
            for place, need in enumerate(step.needs)
            if need.dataset is None
            for one in self._find(need.step, f"{self._here}.needs[{place}]")
        ]
        return Step(
            name=self._entry.name,
            run=self._run(),
            per=Per(step.per),
            needs=tuple(one.place for one in needs),
            inputs=self._all_of(needs) if step.inputs is None else self._listed(step.inputs),
            generated=tuple(
                Generated(
                    one.name,
                    one.size,
                    named_seed(max(self._form.seed, 0), one.name) if one.seed is None else one.seed,
                )
                for one in step.generated
            ),
            files=self._entry.files,
            outputs=tuple(Output(one.name, one.keep) for one in step.outputs),
            environment=tuple(sorted(step.environment.items())),
            request=Request(ask.cpu, ask.gpu, ask.memory, ask.disk, ask.walltime),
            failures_max=step.failures_max,
            requires=_requires(step.requires),
            deterministic=step.deterministic,
            retry=policy.retry_rules(self._form.retry, step.retry),
            checkpoint=_checkpoint(step),
            elastic=_elastic(step),
            container=step.container,
            block_jobs=step.jobs_per_task or 0,
            iteration=self._entry.iteration,
        )

    def _run(self) -> Command | Synthetic:
        if self._step.synthetic is None:
            return Command(self._entry.argv)
        ask = self._step.synthetic
        wall = ask.cpu if ask.wall is None else ask.wall
        sizes = (1,) * len(self._step.outputs) if ask.outputs is None else ask.outputs
        return Synthetic(ask.cpu, wall, ask.memory, sizes)

    def _find(self, name: str, where: str) -> list[Meant]:
        found = self._laid.meant(name)
        if not found:
            known = self._laid.names()
            hint = meant(name, known, f"name one of the {len(known)} steps")
            raise UnknownStep(where=where, step=repr(name), hint=hint) from None
        return found

    def _outputs_of(self, one: Meant) -> dict[str, int]:
        return self._outputs[self._laid.entries[one.place].index]

    def _all_of(self, needs: list[Meant]) -> tuple[Input, ...]:
        """Take every output of every parent, under its own name."""
        found: list[Input] = []
        taken: dict[str, int] = {}
        for number, one in enumerate(needs):
            for output_name, output in self._outputs_of(one).items():
                name = one.folder + output_name
                if name in taken:
                    by = self._laid.entries[taken[name]].name
                    raise DuplicateName(
                        where=f"{self._here}.needs[{min(number, len(self._step.needs) - 1)}]",
                        name=name,
                        taken_by=f"an output of step {by} as well: "
                        'list inputs as {from = "step:output", as = "name"}',
                    )
                taken[name] = one.place
                found.append(Input(one.place, output, name))
        return tuple(found)

    def _listed(self, inputs: list[InputForm]) -> tuple[Input, ...]:
        return tuple(
            made
            for place, one in enumerate(inputs)
            if one.dataset is None
            for made in self._inputs(one, f"{self._here}.inputs[{place}]")
        )

    def _inputs(self, one: InputForm, where: str) -> Iterator[Input]:
        step_name, colon, output = one.source.partition(":")
        if not colon:
            reason = f'{one.source!r} does not name an output: write "step:output"'
            raise DatasetRefused(where=where, reason=reason)
        for found in self._find(step_name, where):
            known = self._outputs_of(found)
            if output not in known:
                hint = meant(output, known, f"it declares {', '.join(sorted(known)[:8]) or 'none'}")
                raise UnknownOutput(where=where, step=step_name, output=repr(output), hint=hint)
            name = output if one.name is None else one.name
            yield Input(found.place, known[output], found.folder + name)


def _account(form: DatasetForm) -> Account:
    return Account(
        user=form.user,
        group=form.group,
        priority=form.priority,
        deadline_us=form.deadline,
        allow=tuple(sorted(set(form.sites.allow))),
        deny=tuple(sorted(set(form.sites.deny))),
    )


def _requires(form: RequiresForm) -> Requires:
    return Requires(
        os=form.os,
        arch=form.arch,
        libc=form.libc,
        software=tuple(sorted(set(form.software))),
        network=form.network,
        gpu_model=form.gpu_model,
        gpu_memory_mib=form.gpu_memory,
    )


def _checkpoint(step: StepForm) -> Checkpoint:
    form = step.checkpoint
    if form is None or not form.files:
        return NO_CHECKPOINT
    return Checkpoint(tuple(form.files), form.signal, form.every)


def _elastic(step: StepForm) -> Elastic:
    form = step.elastic
    if form is None or not (form.cpus_max or form.memory_max):
        return NOT_ELASTIC
    return Elastic(form.cpus_max, form.memory_max, form.shrinks, form.signal)


def _content(name: str, form: FileForm, base: Path | None) -> bytes:
    where = f'files."{name}"'
    given = [one for one in (form.text, form.base64, form.source) if one is not None]
    if len(given) != 1:
        raise DatasetRefused(where=where, reason="give exactly one of text, base64 and from")
    if form.text is not None:
        return form.text.encode(errors="surrogatepass")
    if form.base64 is not None:
        try:
            return base64.b64decode(form.base64, validate=True)
        except (binascii.Error, ValueError):
            raise DatasetRefused(where=where, reason="this is not base64") from None
    return bytes_beside(form.source or "", base, f"{where}.from")

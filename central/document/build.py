"""From the form that a person filled in to a `Dataset`: names become indexes."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from bundle.dataset.abilities import NO_CHECKPOINT, NOT_ELASTIC, Checkpoint, Elastic
from bundle.dataset.asks import Account, Requires
from bundle.dataset.refusals import (
    BeyondLimit,
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
from bundle.limits import DOCUMENT_FILE_BYTES_MAX
from central.document import policy
from central.document.form import DatasetForm, FileForm, InputForm, RequiresForm, StepForm


def dataset(form: DatasetForm, base: Path | None) -> Dataset:
    """Make the Dataset; its graph and limits are still to be checked. Raises DatasetRefused."""
    place_of: dict[str, int] = {}
    for index, step in enumerate(form.steps):
        place_of.setdefault(step.name, index)  # graph.check refuses the second of a name
    outputs = [{one.name: place for place, one in enumerate(s.outputs)} for s in form.steps]
    return Dataset(
        name=form.name,
        jobs=form.jobs,
        open=form.open,
        seed=form.seed,
        steps=tuple(
            _Builder(form, place_of, outputs, index).step() for index in range(len(form.steps))
        ),
        description=form.description,
        account=_account(form),
        parameters=tuple(sorted(form.parameters.items())),
        files=tuple(sorted((name, _content(name, one, base)) for name, one in form.files.items())),
        learning=policy.learning(form.learning),
    )


class _Builder:
    """Makes one step; holds the tables that all steps share."""

    def __init__(
        self,
        form: DatasetForm,
        place_of: dict[str, int],
        outputs: list[dict[str, int]],
        index: int,
    ) -> None:
        self._form, self._place_of, self._outputs = form, place_of, outputs
        self._step: StepForm = form.steps[index]
        self._here = f"steps[{index}]"

    def step(self) -> Step:
        step, ask = self._step, self._step.request
        needs = tuple(
            self._find(name, f"{self._here}.needs[{place}]")
            for place, name in enumerate(step.needs)
        )
        return Step(
            name=step.name,
            run=self._run(),
            per=Per(step.per),
            needs=needs,
            inputs=self._all_of(needs) if step.inputs is None else self._listed(step.inputs),
            generated=tuple(
                Generated(
                    one.name,
                    one.size,
                    named_seed(max(self._form.seed, 0), one.name) if one.seed is None else one.seed,
                )
                for one in step.generated
            ),
            files=tuple(step.files),
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
        )

    def _run(self) -> Command | Synthetic:
        if self._step.synthetic is None:
            return Command(tuple(self._step.command or ()))
        ask = self._step.synthetic
        wall = ask.cpu if ask.wall is None else ask.wall
        sizes = (1,) * len(self._step.outputs) if ask.outputs is None else ask.outputs
        return Synthetic(ask.cpu, wall, ask.memory, sizes)

    def _find(self, name: str, where: str) -> int:
        try:
            return self._place_of[name]
        except KeyError:
            hint = meant(name, self._place_of, f"name one of the {len(self._place_of)} steps")
            raise UnknownStep(where=where, step=repr(name), hint=hint) from None

    def _all_of(self, needs: tuple[int, ...]) -> tuple[Input, ...]:
        """Take every output of every parent, under its own name."""
        found: list[Input] = []
        taken: dict[str, int] = {}
        for place, parent in enumerate(needs):
            for name, output in self._outputs[parent].items():
                if name in taken:
                    raise DuplicateName(
                        where=f"{self._here}.needs[{place}]",
                        name=name,
                        taken_by=f"an output of step {self._form.steps[taken[name]].name} as well: "
                        'list inputs as {from = "step:output", as = "name"}',
                    )
                taken[name] = parent
                found.append(Input(parent, output, name))
        return tuple(found)

    def _listed(self, inputs: list[InputForm]) -> tuple[Input, ...]:
        return tuple(
            self._input(one, f"{self._here}.inputs[{place}]") for place, one in enumerate(inputs)
        )

    def _input(self, one: InputForm, where: str) -> Input:
        step_name, colon, output = one.source.partition(":")
        if not colon:
            reason = f'{one.source!r} does not name an output: write "step:output"'
            raise DatasetRefused(where=where, reason=reason)
        step = self._find(step_name, where)
        known = self._outputs[step]
        if output not in known:
            hint = meant(output, known, f"it declares {', '.join(sorted(known)[:8]) or 'none'}")
            raise UnknownOutput(where=where, step=step_name, output=repr(output), hint=hint)
        return Input(step, known[output], output if one.name is None else one.name)


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
    return _beside(form.source or "", base, f"{where}.from")


def _beside(source: str, base: Path | None, where: str) -> bytes:
    """Read a file below the document's folder; a document from elsewhere must not reach further."""
    if base is None:
        reason = "a document without a folder cannot name files: give text"
        raise DatasetRefused(where=where, reason=reason)
    try:
        path = (base / source).resolve()
        if not path.is_relative_to(base.resolve()):
            raise DatasetRefused(where=where, reason=f"{source!r} is outside the document's folder")
        if not path.is_file():
            raise DatasetRefused(where=where, reason=f"there is no file {path}")
        size = path.stat().st_size
        if size > DOCUMENT_FILE_BYTES_MAX:
            allowed = f"at most {DOCUMENT_FILE_BYTES_MAX}"
            raise BeyondLimit(where=where, quantity="bytes", found=size, allowed=allowed)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DatasetRefused(where=where, reason=f"cannot read {source!r}: {error}") from None

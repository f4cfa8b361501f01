"""A payload in the place of the real one, for a rehearsal without the experiment's software."""

from __future__ import annotations

from dataclasses import replace

from bundle.dataset.asks import Account, Requires
from bundle.dataset.spec import Command, Dataset, Output, Request, Step

WRITTEN_DOWN = "commands.sh"
SHELL = """set -e
printf '%s\\n' "$1" > "$2"
inputs=$3
shift 3
for name; do
  if [ "$inputs" -gt 0 ]; then test -r "$name"; inputs=$((inputs - 1))
  else printf '%s\\n' "$name" > "$name"; fi
done
"""


def stand_in(dataset: Dataset) -> Dataset:
    """Return the dataset with steps that write down what they would run, and their outputs.

    Each takes its inputs as the real one does, needs no container, asks for little, and leaves its
    expanded commands in one more output, `commands.sh`.
    """
    return replace(dataset, steps=tuple(map(_stand_in, dataset.steps)), account=Account())


def _stand_in(step: Step) -> Step:
    inputs, outputs = [one.name for one in step.inputs], [one.name for one in step.outputs]
    told = WRITTEN_DOWN
    while told in (*inputs, *outputs):
        told = f"_{told}"
    text = step.run.argv[-1] if isinstance(step.run, Command) else ""
    shell = ("sh", "-c", SHELL.replace("$(", "$$("), "stand-in")
    return replace(
        step,
        run=Command((*shell, text, told, str(len(inputs)), *inputs, *outputs)),
        outputs=(*step.outputs, Output(told, keep=True)),
        request=Request(memory_mib=64, disk_bytes=64 << 20, walltime_ms=300_000),
        requires=Requires(),
        container="",
    )

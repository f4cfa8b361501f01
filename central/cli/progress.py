"""What a person sees of a rehearsal: a bar per step on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from bundle.dataset.spec import Dataset

BARS_MAX = 12  # a dataset with more steps gets one bar for all of them
LINE_EVERY_S = 2.0


class Progress:
    """Shows counts as they change and faults as they happen; a context manager."""

    def __init__(self, console: Console, dataset: Dataset) -> None:
        """Prepare for a dataset; nothing is shown yet."""
        self._console = console
        self._dataset = dataset
        self._single = len(dataset.steps) > BARS_MAX
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._ids: list[TaskID] = []
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Progress:
        self._bars.start()
        if self._single:
            self._ids = [self._bars.add_task(self._dataset.name, total=self._dataset.tasks())]
        else:
            self._ids = [
                self._bars.add_task(step.name, total=self._dataset.tasks_of(number))
                for number, step in enumerate(self._dataset.steps)
            ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def tell(self, event: str) -> None:
        """Show one event in words."""
        self._bars.console.print(
            f"{self._at()} {event}", highlight=False, markup=False, soft_wrap=True
        )

    def update(self, counts: list[dict[str, Any]]) -> None:
        """Show how many tasks of each step are done."""
        done = [step["counts"].get("done", 0) for step in counts]
        if self._single:
            self._bars.update(self._ids[0], completed=sum(done))
        else:
            for bar, number in zip(self._ids, done, strict=True):
                self._bars.update(bar, completed=number)
        if not self._console.is_terminal and time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            self.tell(f"{sum(done)} of {self._dataset.tasks()} tasks done")

    def _at(self) -> str:
        return f"[{time.monotonic() - self._began:5.1f} s]"

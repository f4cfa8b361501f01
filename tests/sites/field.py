"""A central and its relays as people run them: every step is a command in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle.client import Client
from relay import enrol
from tests.conftest import REPOSITORY

PULK = (sys.executable, "-I", "-m", "bundle.cli")
COMMAND_S = 60.0
END_S = 20.0


@dataclass(slots=True)
class Program:
    """One end of a cable: what commands are begun with there, and their environment."""

    inside: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: object, code: int | None = 0) -> str:
        """Run `pulk` and return what it printed. `code` None: whatever it ends with."""
        done = subprocess.run(
            [*self.inside, *PULK, *map(str, arguments)],
            cwd=REPOSITORY,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert code is None or done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    def ask(self, *arguments: object, code: int | None = 0) -> Any:
        """Run `pulk ... --json` and return its document."""
        return json.loads(self.run(*arguments, "--json", code=code))

    @contextlib.contextmanager
    def serving(self, log: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Run `pulk` beside the test, and end it by its pid."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self.inside, *PULK, *map(str, arguments)],
                cwd=REPOSITORY,
                env=self.variables(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield process
        finally:
            end(process)

    def variables(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **self.environment}


@dataclass(slots=True)
class Center:
    """A central in a folder."""

    folder: Path
    program: Program
    root_words: str = ""

    @classmethod
    def made(cls, folder: Path, program: Program, config: str = "") -> Center:
        one = cls(folder, program)
        one.root_words = one.program.ask("central", "init", folder)["root_fingerprint"]
        (folder / "central.toml").write_text(f"[archive]\ncopies = 1\n{config}")
        return one

    @contextlib.contextmanager
    def serving(self, host: str = "127.0.0.1") -> Iterator[None]:
        """Serve it at an address of its own end; whoever asks meanwhile finds it there."""
        log = self.folder.with_name(f"{self.folder.name}-serve.log")
        given = ("central", "serve", self.folder, "--host", host, "--port", "0")
        with self.program.serving(log, *given) as process:
            address = self.folder / "address"
            until(lambda: address.exists() or process.poll() is not None, "central")
            assert process.poll() is None, log.read_text()
            yield

    @property
    def url(self) -> str:
        return (self.folder / "address").read_text().strip()

    def asking(self, *arguments: object) -> Any:
        """Ask it as a user does."""
        token = ("--central", self.url, "--token-file", self.folder / "admin.token")
        return self.program.ask(*arguments, *token)

    def submit(self, document: Mapping[str, Any]) -> str:
        path = self.folder.with_name(f"{document['name']}.json")
        path.write_text(json.dumps(document))
        return str(self.asking("dataset", "submit", path)["id"])

    def counts(self, dataset: str) -> Counter[str]:
        """How many tasks of all steps stand where."""
        found: Counter[str] = Counter()
        for step in self.asking("dataset", "counts", dataset)["steps"]:
            found.update(step["counts"])
        return found

    def tell(self, dataset: str, job: int, step: object) -> Any:
        return self.asking("tell", f"{dataset}/{job}/{step}")

    @property
    def client(self) -> Client:
        """What asks it from this process, where its server is near."""
        token = (self.folder / "admin.token").read_text().strip()
        return Client(self.url, token, direct=True)

    def sound(self) -> tuple[int, int]:
        """Have fsck compare database and archive of the folder, which nobody serves.

        Return how many tasks are done by both, and how many attempts count.
        """
        found = self.program.ask("central", "fsck", self.folder)
        assert found["ok"] and not found["problems"], found
        spans = [one for steps in found["done"].values() for runs in steps.values() for one in runs]
        return sum(count for _, count in spans), found["attempts"]


@dataclass(slots=True)
class Outpost:
    """A relay in a folder of its site, and the ledger that its payloads write.

    `beside`: the folder in which the ledger is; None: that in which the relay's folder is.
    """

    folder: Path
    program: Program
    beside: Path | None = None

    @classmethod
    def made(
        cls,
        folder: Path,
        program: Program,
        name: str,
        center: Center,
        config: str,
        beside: Path | None = None,
    ) -> Outpost:
        """Enrol it; `config` follows `[site]` in relay.toml."""
        one = cls(folder, program, beside)
        made = program.ask("relay", "init", folder, "--site", name)
        answer = folder.with_name(f"{name}.answer")
        words = made["fingerprint"]
        center.program.ask(
            "central", "enrol", center.folder, made["request"], "--fingerprint", words,
            "--out", answer,
        )  # fmt: skip
        program.ask("relay", "accept", folder, answer, "--root", center.root_words)
        one.configure(name, config)
        return one

    @classmethod
    def near(
        cls, folder: Path, program: Program, name: str, center: Center, config: str
    ) -> Outpost:
        """The same without a process for each step."""
        one = cls(folder, program)
        made = enrol.init(folder, name, "")
        answer = folder.with_name(f"{name}.answer")
        answer.write_bytes(center.client.enrol(made.request.read_bytes(), made.fingerprint))
        enrol.accept(folder, answer, center.root_words)
        one.configure(name, config)
        return one

    def configure(self, name: str, config: str) -> None:
        self.ledger.parent.mkdir(exist_ok=True)
        writes = f'writable = ["{self.ledger.parent}"]'
        text = f'[site]\nname = "{name}"\n{config}\n'
        assert "[tasks]\n" in text
        text = text.replace("[tasks]\n", f"[tasks]\n{writes}\n")
        text += f'[task_environment]\nLEDGER = "{self.ledger}"\n'
        (self.folder / "relay.toml").write_text(text)

    @property
    def ledger(self) -> Path:
        """What payloads say outside of all that Pulk knows: a line for each that ended."""
        return (self.beside or self.folder.parent) / f"{self.folder.name}-ledger" / "ends"

    def ended(self) -> Counter[tuple[int, int]]:
        """How often the payload of each (step, job) came to its end."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter((int(step), int(job)) for _, step, job in map(str.split, lines))

    def ends(self) -> Counter[str]:
        """How often each attempt, by its key, came to its end."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter(one.split()[0] for one in lines)

    def tick(self, code: int | None = 0) -> Any:
        return self.program.ask("relay", "tick", self.folder, code=code)

    def status(self) -> Any:
        return self.program.ask("relay", "status", self.folder)


def chain(
    name: str,
    jobs: int,
    size_bytes: int = 200,
    before: str = ":",
    **more: Any,
) -> dict[str, Any]:
    """Two steps a job, and one that reads what all of them made.

    `before`: what the first begins with. `more` is for the document.
    """
    end = 'echo "$$PULK_ATTEMPT $$PULK_STEP $$PULK_JOB" >> $$LEDGER'
    make = f"{before}; head -c {size_bytes} /dev/urandom > made"
    request = {"cpu": 1, "memory": "64MiB", "disk": "64MiB", "walltime": "5min"}

    def step(name: str, words: str, output: str, **more: Any) -> dict[str, Any]:
        command = ["sh", "-c", f"set -e; {words}; {end}"]
        outputs = [{"name": output, "keep": output == "weight"}]
        return {"name": name, "command": command, "outputs": outputs, "request": request, **more}

    steps = [
        step("make", make, "made"),
        step("weigh", "wc -c < made > weight; cat made >> weight", "weight", needs=["make"]),
        step("sum", "cat */weight | sha256sum > sum", "sum", needs=["weigh"], per="dataset"),
    ]
    return {"schema": 1, "name": name, "jobs": jobs, "seed": 7, "steps": steps, **more}


def tasks(jobs: int) -> dict[tuple[int, int], int]:
    """What a ledger holds of a `chain` in which nothing had to run again."""
    each = {(step, job): 1 for step in (0, 1) for job in range(jobs)}
    return each | {(2, 0): 1}


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_S)


def until(
    holds: Callable[[], object], what: str, limit_s: float = COMMAND_S, every_s: float = 0.1
) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {limit_s} s"
        time.sleep(every_s)

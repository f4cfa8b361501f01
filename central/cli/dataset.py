"""`pulk dataset`: check a document, submit it, look at what became of it, and control it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from central.cli import controls, shown, shown_tasks, sizes, writing
from central.cli.asking import asking, client_of, find_others, full_id, rows, show_answer, step_no
from central.cli.export import export
from central.cli.notify import of_dataset as notify
from central.cli.outputs import outputs
from central.cli.tables import plain as table
from central.cli.tasks import jobs, tasks
from central.cli.writing import document_of

VISIBILITIES = ("private", "group", "public")


@click.group()
def group() -> None:
    """Check, submit, watch and control datasets."""


_central = asking(required=True)


for _command in (writing.check, writing.schema, writing.template, writing.submit):
    group.add_command(_command)


@group.command()
@click.argument("dataset_id")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--cosignature",
    "cosignatures",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What `pulk dataset cosign` wrote; may be given several times.",
)
@_central
def edit(
    *,
    dataset_id: str,
    file: Path,
    cosignatures: tuple[Path, ...],
    central: str,
    token_file: Path,
    as_json: bool,
) -> None:
    """Put another document in a dataset's place: same jobs, steps and needs."""
    from bundle.dataset import spec
    from central.cli import signing
    from central.cli.sent import Sent

    client = client_of(central, token_file)
    dataset = document_of(file, find_others(client))
    given = signing.given(spec.encode(dataset), cosignatures)
    full = full_id(client, dataset_id)
    digest = hashlib.sha256(given.raw + given.cosignature).hexdigest()
    sent, request = Sent.in_home(), f"{central} {full} edit {digest}"
    answer = client.edit(full, given.raw, sent.key_for(request), given.cosignature)
    sent.answered(request)
    changed = ", ".join(dataset.steps[one].name for one in answer["steps"])
    stale = f"{changed} compute something else: {answer['tasks']} tasks begun so far run again"
    show_answer(answer, as_json, f"{full}: {stale if changed else 'no result became stale'}")


@group.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Your user key.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The co-signature.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def cosign(file: Path, key: Path, out: Path, as_json: bool) -> None:
    """Co-sign a dataset document (`-` for stdin), for sites that demand it of users."""
    from bundle.dataset import spec
    from central.cli import signing

    dataset = document_of(file)
    about = signing.cosign(spec.dataset_digest(spec.encode(dataset)), key, out)
    words = f"{out}: {dataset.name}, {dataset.tasks()} tasks, document {about['digest']}"
    show_answer(about, as_json, words)


@group.command("list")
@click.option("--search", "q", help="Only those with these words in name, description or owner.")
@click.option("--owner", help="Only those of this user.")
@click.option("--group", help="Only those that belong to this group.")
@click.option("--visibility", type=click.Choice(VISIBILITIES), help="Only those seen by these.")
@click.option("--sort", help="By this field, such as name; -name: the other way.")
@_central
def list_(*, central: str, token_file: Path, as_json: bool, **asked: str | None) -> None:
    """List the datasets that you may see."""
    listed = client_of(central, token_file).every("/datasets", "datasets", **asked)
    show_answer({"datasets": listed}, as_json, "" if as_json else shown.datasets(listed))


@group.command()
@click.argument("dataset_id")
@click.option("--owner", help="Give it to this user.")
@click.option("--group", help="Which group sees it, with --visibility group.")
@click.option("--visibility", type=click.Choice(VISIBILITIES), help="Who sees it.")
@_central
def share(
    *, dataset_id: str, central: str, token_file: Path, as_json: bool, **asked: str | None
) -> None:
    """Change whose a dataset is, and who sees it beside its owner and production."""
    client = client_of(central, token_file)
    about = {name: value for name, value in asked.items() if value is not None}
    answer = client.share(full_id(client, dataset_id), about)
    words = f"owner {answer['owner'] or 'nobody'}; {answer['visibility']}"
    words += f"; group {answer['group']}" if answer["group"] else ""
    show_answer(answer, as_json, words)


@group.command()
@click.argument("dataset_id")
@_central
def audit(dataset_id: str, central: str, token_file: Path, as_json: bool) -> None:
    """List who changed a dataset, and how, the newest first."""
    client = client_of(central, token_file)
    listed = client.every("/audit", "audit", resource=full_id(client, dataset_id))
    columns = ("at", "user", "action", "detail")
    lines = [{name: row[name] for name in columns} for row in listed]
    show_answer({"audit": listed}, as_json, table(lines))


@group.command()
@click.argument("dataset_id")
@_central
def show(dataset_id: str, central: str, token_file: Path, as_json: bool) -> None:
    """Show one dataset with its counts."""
    client = client_of(central, token_file)
    dataset_id = full_id(client, dataset_id)
    about, counted = client.get(f"/datasets/{dataset_id}"), client.counts(dataset_id)
    needs = rows(client.get(f"/datasets/{dataset_id}/needs"), "needs")
    words = "" if as_json else shown.dataset(about, counted, needs)
    show_answer({**about, "counts": counted, "needs": needs}, as_json, words)


@group.command()
@click.argument("dataset_id")
@_central
def counts(dataset_id: str, central: str, token_file: Path, as_json: bool) -> None:
    """Count tasks per step and verdict, with attempts, hours and peak memory."""
    client = client_of(central, token_file)
    answer = client.counts(full_id(client, dataset_id))
    show_answer({"steps": answer}, as_json, "" if as_json else shown.counts(answer))


@group.command()
@click.argument("dataset_id")
@_central
def disputes(dataset_id: str, central: str, token_file: Path, as_json: bool) -> None:
    """List tasks of deterministic steps whose successes put out different files."""
    client = client_of(central, token_file)
    answer = client.get(f"/datasets/{full_id(client, dataset_id)}/disputes")
    lines = [
        {
            "task": one["task"],
            "step": one["step"],
            "site": made["site"],
            "outcome": made["outcome"],
            "canonical": made["outcome"] == one["canonical"],
        }
        for one in rows(answer, "disputes")
        for made in one["successes"]
    ]
    show_answer(answer, as_json, table(lines) if lines else "no disputes")


@group.command()
@click.argument("dataset_id")
@_central
def learned(dataset_id: str, central: str, token_file: Path, as_json: bool) -> None:
    """Show what attempts taught about requests: per step what is asked, and what would do."""
    client = client_of(central, token_file)
    answer = client.get(f"/datasets/{full_id(client, dataset_id)}/learned")
    lines = [
        {"step": one["name"], "resource": name, "successes": one["successes"], **one[name]}
        for one in rows(answer, "steps")
        for name in ("memory_mib", "walltime_ms", "disk_bytes")
    ]
    show_answer(answer, as_json, f"policy: {answer['policy']}\n{table(lines)}")


@group.command()
@click.argument("dataset_id")
@click.option("--step", help="Name or index of the step.")
@click.option("--job", type=click.IntRange(0), help="Index of the job.")
@click.option("--fate", help="Only attempts that ended this way.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--after", help="Go on after this attempt.")
@_central
def attempts(
    dataset_id: str,
    step: str | None,
    central: str,
    token_file: Path,
    as_json: bool,
    **asked: str | int | None,
) -> None:
    """List attempts: when, where, how each ended and why, what it used; --json has all of it."""
    client = client_of(central, token_file)
    full = full_id(client, dataset_id)
    asked["step"] = None if step is None else step_no(client, full, step)
    answer = client.get(f"/datasets/{full}/attempts", detail="true", **asked)
    show_answer(answer, as_json, "" if as_json else shown_tasks.attempts(rows(answer, "attempts")))


_OTHERS = (export, outputs, tasks, jobs, notify)
for _command in (*controls.commands(), *sizes.commands(), *_OTHERS):
    group.add_command(_command)

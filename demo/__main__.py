"""`make demo`: play the story against a running Linli, print how it ends; exit code 1 when it ends otherwise.

LINLI_URL           where Linli answers (http://127.0.0.1:8000, or on PORT)
LINLI_OPERATOR_…    USERNAME and PASSWORD of an operator (those of development mode)
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo import sign_in
from demo.client import Api, Stopped
from demo.report import tell_end
from demo.script import load_script
from demo.stage import Stage, Steps
from demo.story import CHAPTERS

OPERATOR_USERNAME = "operator"
OPERATOR_PASSWORD = "linli-development"  # noqa: S105 - development mode's, which listens on loopback only


async def play(url: str, console: Console) -> list[str]:
    """Play every chapter; returns what differs from the story in the end."""
    began = time.monotonic()
    async with Api(url, partial(console.print, style="yellow", markup=False)) as api:
        await sign_in.reach(api, url)
        username = os.environ.get("LINLI_OPERATOR_USERNAME", OPERATOR_USERNAME)
        password = os.environ.get("LINLI_OPERATOR_PASSWORD", OPERATOR_PASSWORD)
        stage = Stage(api, load_script(), sign_in.operator(api, username, password))
        columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            for title, chapter in CHAPTERS:
                await chapter(stage, Steps(progress, title, api))
        differences = await tell_end(stage, console)
        console.print(f"Played in {time.monotonic() - began:.1f} s with {api.requests} requests.")
    return differences


def main() -> int:
    """Returns the exit code."""
    console = Console(highlight=False)
    url = os.environ.get("LINLI_URL", f"http://127.0.0.1:{os.environ.get('PORT', '8000')}").rstrip("/")
    problems: list[str] = []
    try:
        problems += asyncio.run(play(url, console))
    except* Stopped as group:
        problems.append(_first(group))
    except* KeyboardInterrupt:
        problems.append("stopped; played again, it goes on where it was.")
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _first(error: BaseException) -> str:
    """What went wrong first, of all that ended together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or repr(error)


if __name__ == "__main__":
    sys.exit(main())

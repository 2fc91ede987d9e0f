"""A module of the product as a process of its own, started, watched and stopped by a test."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
READY = re.compile(r"ready on (http://\S+)")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class Child:
    """One process and what it has said so far, its log included."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = asyncio.Condition()
        self._ended = False
        self.output: list[str] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._said:
                self.output.append(line.decode().rstrip())
                self._said.notify_all()
        async with self._said:
            self._ended = True
            self._said.notify_all()

    async def says(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """The first line that matches, once it is there."""
        async with asyncio.timeout(START_TIMEOUT_S), self._said:
            while True:
                for line in self.output:
                    if found := re.search(pattern, line):
                        return found
                assert not self._ended, f"it ended without saying {pattern}: {self.output}"
                await self._said.wait()

    async def ready(self) -> str:
        """Its address, once it says that it is ready."""
        return (await self.says(READY))[1]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    async def ends(self) -> int:
        """Its exit code, once it has ended by itself."""
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await self._process.wait()


@asynccontextmanager
async def started(*arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """`python ARGUMENTS` with this environment and nothing else about the product; killed at the end if it still is."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LINLI_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env={**inherited, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    child = Child(process)
    reading = asyncio.create_task(child.read())
    try:
        yield child
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading

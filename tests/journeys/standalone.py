"""A standalone Linli as a process of its own, started and stopped by a test as a person would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue

ROOT = Path(__file__).parent.parent.parent
READY = re.compile(r"ready on (http://\S+)")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class Standalone:
    """One process; `url` is known once it is ready."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self._environment = dict(environment or {})
        self._lines: Queue[str] = Queue()
        self.output: list[str] = []
        self.url = ""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "LINLI_DATA": str(self.data), "PORT": "0", **self._environment}
        environment.pop("DATABASE_URL", None)  # it is about the database that standalone brings
        log = (self.data.parent / f"{self.data.name}.log").open("a", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "standalone.py"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line.rstrip())
            self._lines.put(line)
        process.stdout.close()
        self._lines.put("")

    def wait_ready(self) -> str:
        """Its address, once it says it is ready."""
        while True:
            try:
                line = self._lines.get(timeout=START_TIMEOUT_S)
            except Empty:
                raise AssertionError(f"not ready in {START_TIMEOUT_S} s: {self.output}") from None
            if not line:
                raise AssertionError(f"ended before it was ready: {self.output}")
            found = READY.search(line)
            if found:
                self.url = found[1]
                return self.url

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send the signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)

"""Group commit: requests that wait for the same thing are decided together, in one transaction, in order of arrival.

The rule decides a whole batch (`decide(session, requests)` returns one answer or refusal per request); the caller
waits for its own. Everyone is answered after the commit, exactly once. When a batch fails, its requests are decided one
by one, so that one bad request fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database, is_down, is_lock_timeout, is_transient
from chassis.errors import Refusal, StillDeciding, Unavailable
from chassis.tracing import together, traceparent

BATCH_MAX = 256
ATTEMPTS_MAX = 3

Request = TypeVar("Request")
Answer = TypeVar("Answer")

Decide = Callable[[AsyncSession, Sequence[Request]], Awaitable[Sequence[Answer | Refusal]]]


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Request, Answer]):
    """A request, where its answer goes, and the `traceparent` in which it was asked."""

    request: Request
    answer: asyncio.Future[Answer]
    parent: str | None


class GroupCommit(Generic[Request, Answer]):
    """Async context manager: while open, `submit` answers; on exit, what was submitted is still answered."""

    def __init__(self, db: Database, decide: Decide[Request, Answer], *, batch_max: int = BATCH_MAX) -> None:
        self._db = db
        self._decide = decide
        self._name = getattr(decide, "__name__", "decide")
        self._batch_max = batch_max
        self._waiting: asyncio.Queue[Waiting[Request, Answer] | None] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        self._worker = asyncio.create_task(self._work(), name="group-commit")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        self._waiting.put_nowait(None)
        if self._worker is not None:
            await self._worker

    async def submit(self, request: Request) -> Answer:
        """The answer to this request once it has committed; raises its refusal, or the error that hit it."""
        if not self._open:
            raise Unavailable()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(Waiting(request, future, traceparent()))
        return await future

    async def _work(self) -> None:
        closing = False
        while not closing:
            batch = []
            entry = await self._waiting.get()
            while True:
                if entry is None:
                    closing = True
                elif not entry.answer.cancelled():
                    batch.append(entry)
                if closing or len(batch) >= self._batch_max or self._waiting.empty():
                    break
                entry = self._waiting.get_nowait()
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[Waiting[Request, Answer]]) -> None:
        try:
            with together(self._name, [entry.parent for entry in batch]):
                answers = await self._decide_together([entry.request for entry in batch])
        except Exception as error:
            if is_lock_timeout(error) or is_down(error):
                # One by one, each of them would wait as long again.
                for entry in batch:
                    _settle(entry.answer, StillDeciding() if is_lock_timeout(error) else Unavailable())
            elif len(batch) == 1:
                _settle(batch[0].answer, error)
            else:
                for entry in batch:
                    await self._answer([entry])
            return
        for entry, answer in zip(batch, answers, strict=True):
            _settle(entry.answer, answer)

    async def _decide_together(self, requests: Sequence[Request]) -> Sequence[Answer | Refusal]:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with self._db.transaction() as session:
                    answers = await self._decide(session, requests)
                    if len(answers) != len(requests):
                        raise ValueError(f"{len(answers)} answers to {len(requests)} requests")
                return answers
            except Exception as error:
                if attempt == ATTEMPTS_MAX or not is_transient(error):
                    raise
        raise AssertionError("unreachable")


def _settle(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    """Answer a waiter that is still there; one that went away has its effect all the same."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)

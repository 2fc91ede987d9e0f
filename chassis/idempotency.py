"""Safe retries of POSTs that take capacity, stock, points or money: the same `Idempotency-Key` has one effect.

A key belongs to a person and a route; a hash of path and body guards it against another request. The answer is kept in
the effect's own transaction, for 72 hours; refusals are not kept, they are decided afresh. Order in a use case:

    lock what is contended  →  `once_each` (recall who was answered already, decide the others, remember their answers)

so that a duplicate in flight waits for the first one's lock and then finds its answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import arrays, insert_arrays, wanted
from chassis.auth import signed_in
from chassis.db import Raced, world_of
from chassis.errors import Refusal
from chassis.tables import idempotency_keys
from chassis.telemetry import Origin, current_origin

KEEP_KEYS_H = 72
KEY_MAX_CHARACTERS = 255


class KeyMissing(Refusal):
    """400: the route needs an Idempotency-Key."""

    status = 400
    type = "key_missing"


class KeyReused(Refusal):
    """422: the key belongs to a request with another body or path."""

    status = 422
    type = "key_reused"


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Whose key for which route, and the hash of what was asked; the facts that follow from it name its `origin`."""

    person_id: UUID
    route: str
    key: str
    fingerprint: str
    origin: Origin = field(default=Origin(), compare=False)

    @property
    def identity(self) -> tuple[UUID, str, str]:
        return (self.person_id, self.route, self.key)


async def idempotency_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Required. A new value for each intent; a retry sends the same value and has no second effect.",
        ),
    ] = None,
) -> IdempotencyKey:
    """The request's key; 400 without one."""
    if not key or len(key) > KEY_MAX_CHARACTERS or not key.isascii() or not key.isprintable():
        raise KeyMissing()
    principal = await signed_in(request)
    asked = hashlib.sha256(request.url.path.encode() + b"\n" + await request.body()).hexdigest()
    route = f"{request.method} {request.scope['route'].path}"
    return IdempotencyKey(principal.person_id, route, key, asked, current_origin())


Keyed = Annotated[IdempotencyKey, Depends(idempotency_key)]


class KeyedRequest(Protocol):
    """A request that a person may send again."""

    @property
    def key(self) -> IdempotencyKey: ...


_KEPT = ("person_id", "route", "key", "fingerprint", "answer", "created_at")
_row = idempotency_keys.c
_asked = wanted(person_id=_row.person_id, route=_row.route, key=_row.key)
_RECALL = select(_row.person_id, _row.route, _row.key, _row.fingerprint, _row.answer).join_from(
    idempotency_keys,
    _asked,
    (_row.person_id == _asked.c.person_id) & (_row.route == _asked.c.route) & (_row.key == _asked.c.key),
)
_KEEP = insert_arrays(idempotency_keys, _KEPT).on_conflict_do_nothing().returning(idempotency_keys.c.key)

R = TypeVar("R", bound=KeyedRequest)
M = TypeVar("M", bound=BaseModel)


async def once_each(
    session: AsyncSession,
    requests: Sequence[R],
    decide: Callable[[Sequence[R]], Awaitable[Sequence[M | Refusal]]],
    model: type[M],
) -> list[M | Refusal]:
    """Decide each key's first request, keep its answer, and give the same answer to every repetition.

    Call it after locking what is contended. Raises Raced when another transaction was faster with the same key.
    """
    known = await _recall(session, [request.key for request in requests])
    fresh: dict[tuple[UUID, str, str], R] = {}
    for request in requests:
        if request.key.identity not in known:
            fresh.setdefault(request.key.identity, request)
    decided = dict(zip(fresh, await decide(list(fresh.values())) if fresh else [], strict=True))
    await _remember(session, [(fresh[i].key, a) for i, a in decided.items() if not isinstance(a, Refusal)])
    answers: list[M | Refusal] = []
    for request in requests:
        identity = request.key.identity
        first, answer = known.get(identity) or (fresh[identity].key.fingerprint, decided[identity])
        if first != request.key.fingerprint:
            answers.append(KeyReused())
        else:
            answers.append(answer if isinstance(answer, Refusal | model) else model.model_validate(answer))
    return answers


async def _recall(
    session: AsyncSession, keys: Sequence[IdempotencyKey]
) -> dict[tuple[UUID, str, str], tuple[str, Any]]:
    """Fingerprint and stored answer of each key that was answered before."""
    found = await session.execute(
        _RECALL,
        {
            "person_id": [key.person_id for key in keys],
            "route": [key.route for key in keys],
            "key": [key.key for key in keys],
        },
    )
    return {(r.person_id, r.route, r.key): (r.fingerprint, r.answer) for r in found}


async def _remember(session: AsyncSession, answers: Sequence[tuple[IdempotencyKey, BaseModel]]) -> None:
    if not answers:
        return
    now = world_of(session).now()
    rows = [
        (key.person_id, key.route, key.key, key.fingerprint, answer.model_dump_json(), now)
        for key, answer in sorted(answers, key=lambda pair: str(pair[0].identity))
    ]
    if len((await session.scalars(_KEEP, arrays(_KEPT, rows))).all()) != len(rows):
        raise Raced


async def forget_old_keys(session: AsyncSession, now: datetime) -> None:
    """Delete keys older than `KEEP_KEYS_H`."""
    await session.execute(
        delete(idempotency_keys).where(idempotency_keys.c.created_at < now - timedelta(hours=KEEP_KEYS_H))
    )

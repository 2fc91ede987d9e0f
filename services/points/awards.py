"""Awards: what a fact is worth by the rules becomes a transfer, a score and a fact told. And their reversal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.db import world_of
from chassis.outbox import emit
from contracts.event import Envelope
from contracts.orders import ClaimAccepted, ClaimantType, ClaimCompleted, ClaimReleased, ReviewPosted
from contracts.points import PointsAwarded
from services.points.deeds import Deed
from services.points.ledger import balances_of, lock_ledger, post
from services.points.models import ReleasedClaim, Rule, Transfer
from services.points.postings import Place, Posting, Reason, Subject, award, take
from services.points.rules import applies, holding_at, rules_for, worth
from services.points.scores import record_scores


async def award_claims(session: AsyncSession, envelopes: Sequence[Envelope[ClaimAccepted | ClaimCompleted]]) -> None:
    """Handler: the claimant gets what the rules give for a claim or its completion, unless it was released."""
    await lock_ledger(session)
    heard_of = ReleasedClaim.claim_id.in_([envelope.data.claim_id for envelope in envelopes])
    released = set(await session.scalars(select(ReleasedClaim.claim_id).where(heard_of)))
    deeds = [
        _deed(envelope, envelope.data.claim_id, claimant(envelope.data.claimant_type, envelope.data.claimant_id))
        for envelope in envelopes
        if envelope.data.claim_id not in released
    ]
    await award_deeds(session, deeds)


async def reverse_claims(session: AsyncSession, envelopes: Sequence[Envelope[ClaimReleased]]) -> None:
    """Handler: who gives a claim's place back gives back what it was worth."""
    await lock_ledger(session)
    rules = {rule.key for rule in await rules_for(session, ClaimAccepted.type)}
    for envelope in envelopes:
        claim_id = envelope.data.claim_id
        await session.execute(insert(ReleasedClaim).values(claim_id=claim_id).on_conflict_do_nothing())
        keys = [_dedupe_key(rule, claim_id) for rule in sorted(rules)]
        await _reverse(session, (Transfer.kind == "award") & Transfer.dedupe_key.in_(keys), envelope)


async def award_reviews(session: AsyncSession, envelopes: Sequence[Envelope[ReviewPosted]]) -> None:
    """Handler: the reviewed claimant, if there is one, gets what the rules give for the stars."""
    deeds = [
        _deed(envelope, review.review_id, claimant(review.claimant_type, review.claimant_id))
        for envelope in envelopes
        if (review := envelope.data).claimant_type is not None and review.claimant_id is not None
    ]
    await award_deeds(session, deeds)


def claimant(kind: ClaimantType, claimant_id: UUID) -> Subject:
    """A claimant as the owner of accounts."""
    return Subject("person" if kind == "member" else "organisation", claimant_id)


def _deed(envelope: Envelope[Any], source_id: UUID, subject: Subject) -> Deed:
    fact = envelope.data
    return Deed(
        event_type=envelope.type,
        event_id=envelope.id,
        told_at=envelope.time,
        source_id=source_id,
        subject=subject,
        area_id=fact.area_id,
        title=fact.title,
        fact=fact,
    )


async def award_deeds(session: AsyncSession, deeds: Sequence[Deed]) -> None:
    """Award each deed what the rules of its moment give, once per rule and source; NotArrived for an unknown area."""
    await lock_ledger(session)
    versions = {event_type: await rules_for(session, event_type) for event_type in {d.event_type for d in deeds}}
    areas = await scopes.areas_of(session, {deed.area_id for deed in deeds})
    posted = await post(
        session,
        [
            _award(world_of(session).new_id(), deed, rule, areas[deed.area_id], amount, arithmetic)
            for deed in deeds
            for rule in holding_at(versions[deed.event_type], deed.told_at)
            if applies(rule, deed)
            for amount, arithmetic in [worth(rule, deed)]
            if amount > 0
        ],
    )
    told_at = {deed.event_id: deed.told_at for deed in deeds}
    await record_scores(session, [(posting, told_at[_event_of(posting)]) for posting in posted])
    _tell(session, posted)


def _award(transfer_id: UUID, deed: Deed, rule: Rule, area: scopes.Area, amount: int, arithmetic: str) -> Posting:
    """The award scores in the calendar year of the event's area when it was told."""
    return Posting(
        id=transfer_id,
        kind="award",
        dedupe_key=_dedupe_key(rule.key, deed.source_id),
        subject=deed.subject,
        asset=rule.asset,
        amount=amount,
        moves=award(amount),
        title=deed.title,
        reason=Reason(deed.event_type, deed.event_id, rule.key, rule.version, arithmetic),
        place=Place(area.path, deed.told_at.astimezone(area.timezone).year),
    )


def _dedupe_key(rule: str, source_id: UUID) -> str:
    """Under which a rule's award for one thing is posted once."""
    return f"{rule}:{source_id}"


async def reverse_awards(session: AsyncSession, awarded_for: UUID, cause: Envelope[Any]) -> None:
    """Take back everything that the fact `awarded_for` was awarded. Ledger is locked."""
    await _reverse(session, (Transfer.event_id == awarded_for) & (Transfer.kind == "award"), cause)


async def _reverse(session: AsyncSession, awards: ColumnElement[bool], cause: Envelope[Any]) -> None:
    """Take these awards back, once each; what is spent already is owed."""
    for given in (await session.scalars(select(Transfer).where(awards).order_by(Transfer.id))).all():
        subject = Subject(given.subject_type, given.subject_id)
        posting = Posting(
            id=world_of(session).new_id(),
            kind="reversal",
            dedupe_key=str(given.id),
            subject=subject,
            asset=given.asset,
            amount=-given.amount,
            moves=take(given.amount, await balances_of(session, subject, given.asset), "issued"),
            title=given.title,
            reason=Reason(
                cause.type, cause.id, given.rule, given.rule_version, f"-1 × {given.amount} = {-given.amount}"
            ),
            place=Place(tuple(given.areas or ()), cast(int, given.season)),
        )
        posted = await post(session, [posting])
        await record_scores(session, [(reversal, cause.time) for reversal in posted])
        _tell(session, posted)


def _event_of(posting: Posting) -> UUID:
    return cast(UUID, posting.reason.event_id)


def _tell(session: AsyncSession, posted: Iterable[Posting]) -> None:
    for posting in posted:
        fact = PointsAwarded(
            transfer_id=posting.id,
            subject_type=posting.subject.type,
            subject_id=posting.subject.id,
            asset=posting.asset,
            amount=posting.amount,
            rule=cast(str, posting.reason.rule),
            rule_version=cast(int, posting.reason.rule_version),
            title=posting.title or "",
        )
        emit(session, fact, sequence=1)

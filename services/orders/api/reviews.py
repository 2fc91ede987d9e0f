"""Routes of reviews."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import Api, Arriving, Body, Db, Paging, Words, page
from chassis.auth import PUBLIC, SIGNED_IN, CurrentPrincipal
from services.orders.models import SessionOffer
from services.orders.models.reviews import Review
from services.orders.reviews import list_reviews, post_review, stars_of

api = Api("reviews")


class ReviewSubject(Body):
    """What is reviewed: a completed claim, or a session."""

    type: Literal["claim", "session"]
    id: UUID


class NewReview(Body):
    """Stars, and words if one likes."""

    subject: ReviewSubject
    stars: Annotated[int, Field(ge=1, le=5, strict=True)]
    text: Annotated[str, Words(1000, min_length=0)] = ""


class ReviewView(BaseModel):
    """A review; the author's display name stands in the list's `names`."""

    id: UUID
    subject: ReviewSubject
    product_id: UUID
    stars: int
    text: str
    created_at: datetime
    author_id: UUID


class ProductReviews(BaseModel):
    """One page of a product's reviews; average (null if none) and count are of all. The gateway fills in `names`."""

    items: list[ReviewView]
    next_cursor: str | None
    stars_average: float | None
    count: int
    names: dict[str, str] = {}


@api.post("/reviews", policy=SIGNED_IN, status_code=201)
async def review(body: NewReview, principal: CurrentPrincipal, arriving: Arriving, db: Db) -> ReviewView:
    """Review a completed claim or a session. 403: `not_entitled`; 409: `not_completed`, `already_reviewed`."""
    subject = body.subject

    async def offer(session: AsyncSession) -> SessionOffer | None:
        return await session.get(SessionOffer, subject.id)

    if subject.type == "session":
        await arriving.wait_for(offer)
    async with db.transaction() as session:
        posted = await post_review(session, principal, subject.type, subject.id, body.stars, body.text)
    return _view(posted)


@api.get("/products/{product_id}/reviews", policy=PUBLIC, openapi_extra={"x-linli-compose": "names"})
async def reviews_of_product(product_id: UUID, paging: Paging, db: Db) -> ProductReviews:
    """What people say of a product, newest first; empty for one that nobody has reviewed."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_reviews(session, product_id, before, paging.limit)
        average, count = await stars_of(session, product_id)
    shown, cursor = page(rows, paging.limit, lambda review: (review.id,))
    items = [_view(row) for row in shown]
    return ProductReviews(items=items, next_cursor=cursor, stars_average=average, count=count)


def _view(posted: Review) -> ReviewView:
    subject = ReviewSubject(type=posted.subject_type, id=posted.subject_id)  # type: ignore[arg-type]
    return ReviewView(
        id=posted.id,
        subject=subject,
        product_id=posted.product_id,
        stars=posted.stars,
        text=posted.text,
        created_at=posted.created_at,
        author_id=posted.author_id,
    )

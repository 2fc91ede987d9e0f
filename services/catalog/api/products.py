"""Routes of products."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Response

from chassis.api import Api, Arriving, Db, IfMatch, Page, Paging, etag, json_answer
from chassis.auth import PUBLIC, CurrentPrincipal, OptionalPrincipal
from contracts.catalog import ProductKind
from services.catalog import products
from services.catalog.api.filters import Search
from services.catalog.arrivals import wait_for_area, wait_for_organisation
from services.catalog.bodies import NewProduct, ProductChanges
from services.catalog.models import ProductStatus
from services.catalog.product_lists import SHOWN, ProductFilter, list_products, show_product
from services.catalog.product_views import shown, view_product
from services.catalog.rights import OFFERING
from services.catalog.views import ProductView

api = Api("products")


async def _wanted(
    area_id: UUID | None = None,
    category_id: UUID | None = None,
    organisation_id: UUID | None = None,
    kind: ProductKind | None = None,
    status: ProductStatus | Literal["any"] | None = None,
    q: Search = "",
) -> ProductFilter:
    """`area_id` stands for its subtree. Without a status: published and completed; `any`: all the person may see."""
    statuses = SHOWN if status is None else () if status == "any" else (status,)
    return ProductFilter(area_id, category_id, organisation_id, kind, statuses, q.strip())


@api.get("/products", policy=PUBLIC, response_model=Page[ProductView])
async def get_products(
    wanted: Annotated[ProductFilter, Depends(_wanted)], principal: OptionalPrincipal, db: Db, paging: Paging
) -> Response:
    """Products, newest first; drafts only for those who may see them."""
    rows, cursor = await list_products(db, principal, wanted, paging)
    return json_answer({"items": [shown(row) for row in rows], "next_cursor": cursor})


@api.post("/products", policy=OFFERING, status_code=201)
async def post_product(
    body: NewProduct, principal: CurrentPrincipal, arrivals: Arriving, db: Db, response: Response
) -> ProductView:
    """Draft a product; a coordinator can publish it in the same go."""
    await wait_for_area(arrivals, body.area_id)
    if body.organisation_id is not None:
        await wait_for_organisation(arrivals, body.organisation_id)
    async with db.transaction() as session:
        product = await products.offer_product(session, principal, body)
        view = await view_product(session, product)
    return _tagged(response, view)


@api.get("/products/{product_id}", policy=PUBLIC, response_model=ProductView)
async def get_product(product_id: UUID, principal: OptionalPrincipal, db: Db) -> Response:
    """One product."""
    row = await show_product(db, principal, product_id)
    return json_answer(shown(row), etag(row.version))


@api.patch("/products/{product_id}", policy=OFFERING)
async def patch_product(
    product_id: UUID,
    body: ProductChanges,
    principal: CurrentPrincipal,
    if_match: IfMatch,
    db: Db,
    response: Response,
) -> ProductView:
    """Change a product's terms; once it was published, as a coordinator."""
    async with db.transaction() as session:
        product = await products.change_product(session, principal, product_id, body, if_match)
        view = await view_product(session, product)
    return _tagged(response, view)


@api.post("/products/{product_id}/publish", policy=OFFERING)
async def publish_product(product_id: UUID, principal: CurrentPrincipal, db: Db, response: Response) -> ProductView:
    """Offer the product; nothing changes when it is offered already."""
    async with db.transaction() as session:
        product = await products.publish_product(session, principal, product_id)
        view = await view_product(session, product)
    return _tagged(response, view)


@api.post("/products/{product_id}/withdraw", policy=OFFERING)
async def withdraw_product(product_id: UUID, principal: CurrentPrincipal, db: Db, response: Response) -> ProductView:
    """Take the product off offer; what was promised stands."""
    async with db.transaction() as session:
        product = await products.withdraw_product(session, principal, product_id)
        view = await view_product(session, product)
    return _tagged(response, view)


def _tagged(response: Response, view: ProductView) -> ProductView:
    response.headers.update(etag(view.version))
    return view

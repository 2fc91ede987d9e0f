"""Who may call which route on what is in the scene: the product's rights, written down once more and by hand.

Everybody who is not named in a row's `may` is refused. `by` is one who is, and for whom the very same request succeeds:
without that, a mistake in a row's body or path would look like a refusal. The rows are in the order in which they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chassis.settings import SERVICE_NAMES
from tests.rights.scene import NOBODY, PEOPLE

SIGNED_IN = frozenset(PEOPLE)
EVERYBODY = SIGNED_IN | {NOBODY}
OPERATOR = frozenset({"operator"})
COORDINATING = OPERATOR | {"coordinator"}
ADMINISTERING = COORDINATING | {"admin"}
ANN = frozenset({"ann"})
ANN_OR_COORDINATING = ANN | COORDINATING


@dataclass(frozen=True)
class Row:
    """A request. `at` names the things that stand for the path's parameters, where they are not the usual ones."""

    route: str
    may: frozenset[str] = EVERYBODY
    by: str = NOBODY
    body: Any = None
    at: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    # What the one who may is answered with; None: any success.
    status: int | None = None
    endless: bool = False

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        path = self.route.partition(" ")[2]
        for parameter, thing in {**USUAL, **self.at}.items():
            path = path.replace(f"{{{parameter}}}", f"{{{thing}}}")
        return path if path.startswith("/internal") else "/api/v1" + path


USUAL = {
    "area_id": "area",
    "attendance_id": "attendance",
    "booking_id": "booking",
    "centre_id": "centre",
    "challenge_id": "challenge",
    "claim_id": "claim",
    "message_id": "message",
    "need_id": "need",
    "organisation_id": "organisation",
    "person_id": "ann",
    "product_id": "product",
    "redemption_id": "redemption",
    "registration_id": "registration",
    "reward_id": "reward",
    "role_id": "role",
    "session_id": "session",
}

TERMS = {"kind": "activity", "title": "乐园", "summary": "陪伴"}
SESSION = {"starts_at": "2090-01-01T06:00:00Z", "ends_at": "2090-01-01T08:00:00Z", "venue": "中心", "capacity": 2}
MEMBERS = "/organisations/{organisation_id}/members"
AS_ANN = {"claimant": {"type": "member", "id": "{ann}"}}
AS_ORGANISATION = {"claimant": {"type": "organisation", "id": "{organisation}"}}
PRODUCT_OF_ORGANISATION = {"product_id": "product_of_organisation"}
OF_ORGANISATION = {"claim_id": "claim_of_organisation"}
MERCHANT = {"person_id": "{resident}", "role": "merchant", "area_id": "{area}"}

DEAD_LETTERS = {"fingerprint": "0" * 16, "dry_run": True}


def _of_operations(service: str) -> Iterator[Row]:
    """What every service has for operators."""
    for page in ("audit-entries", "dead-letter-groups", "dead-letters", "status"):
        yield Row(f"GET {service}/{page}", OPERATOR, "operator")
    yield Row(f"GET {service}/dead-letters/{{event_id}}", OPERATOR, "operator", at={"event_id": "ann"}, status=404)
    yield Row(f"POST {service}/dead-letters/replay", OPERATOR, "operator", DEAD_LETTERS)
    yield Row(f"POST {service}/dead-letters/discard", OPERATOR, "operator", {**DEAD_LETTERS, "reason": "弄错了"})


ROWS = (
    # Everybody's.
    Row("GET /.well-known/jwks.json"),
    Row("GET /areas"),
    Row("GET /areas/{area_id}"),
    Row("GET /areas/{area_id}/registrations/count"),
    Row("GET /categories"),
    Row("GET /centres"),
    Row("GET /centres/{centre_id}"),
    Row("GET /claims/{claim_id}"),
    Row("GET /leaderboards", query={"area_id": "{area}"}),
    Row("GET /needs"),
    Row("GET /needs/{need_id}"),
    Row("GET /organisations"),
    Row("GET /organisations/{organisation_id}"),
    Row("GET /points/rules"),
    Row("GET /products"),
    Row("GET /products", query={"status": "any"}),
    Row("GET /products/{product_id}"),
    Row("GET /products/{product_id}/claims"),
    Row("GET /products/{product_id}/reviews"),
    Row("GET /products/{product_id}/sessions"),
    Row("GET /rewards"),
    Row("GET /rewards/{reward_id}"),
    Row("GET /sessions"),
    Row("GET /sessions/{session_id}"),
    Row("POST /auth/otp", body={"phone": "13911113333"}),
    Row("POST /auth/refresh", body={"refresh_token": "unknown"}, status=401),
    Row("POST /auth/token", body={"challenge_id": "{ann}", "code": "000000"}, status=401),
    Row("POST /dev/sms", body={"phone": "13911113333"}),
    # One's own.
    Row("GET /me", SIGNED_IN, "ann"),
    Row("GET /me/attendances", SIGNED_IN, "ann"),
    Row("GET /me/bookings", SIGNED_IN, "ann"),
    Row("GET /me/claims", SIGNED_IN, "ann"),
    Row("GET /me/export", SIGNED_IN, "ann"),
    *(Row(f"GET /me/export/{name}", SIGNED_IN, "ann") for name in SERVICE_NAMES),
    Row("GET /me/deliveries", SIGNED_IN, "ann"),
    Row("GET /me/messages", SIGNED_IN, "ann"),
    Row("GET /me/points", SIGNED_IN, "ann"),
    Row("GET /me/redemptions", SIGNED_IN, "ann"),
    Row("GET /me/registrations", SIGNED_IN, "ann"),
    Row("GET /me/stream", SIGNED_IN, "ann", endless=True),
    Row("PATCH /me", SIGNED_IN, "resident", {"display_name": "张三"}),
    Row("POST /me/messages/{message_id}/read", ANN, "ann"),
    Row("POST /auth/logout", SIGNED_IN, "resident"),
    # Only in a sign-in of just now, and these tokens are of none.
    Row("DELETE /me", SIGNED_IN, "resident", status=401),
    # What anybody with an account may begin.
    Row("POST /needs", SIGNED_IN, "resident", {"area_id": "{area}", "title": "修灯", "body": "楼道灯坏了"}),
    Row("POST /registrations", SIGNED_IN, "resident", {"area_id": "{area_elsewhere}"}),
    Row("POST " + MEMBERS, SIGNED_IN, "resident"),
    Row("POST /sessions/{session_id}/bookings", SIGNED_IN, "resident", {"seats": 1}),
    Row("POST /rewards/{reward_id}/redemptions", SIGNED_IN, "ann", {"centre_id": "{centre}", "quantity": 1}),
    Row("POST /products/{product_id}/claims", ANN, "ann", AS_ANN, status=409),
    Row("POST /products/{product_id}/claims", frozenset({"admin"}), "admin", AS_ORGANISATION, status=409),
    # Ann's, and those who run what it belongs to.
    Row("GET /bookings/{booking_id}", ANN_OR_COORDINATING, "ann"),
    Row("POST /bookings/{booking_id}/confirm", COORDINATING, "coordinator", at={"booking_id": "booking_asked"}),
    Row("POST /bookings/{booking_id}/cancel", ANN_OR_COORDINATING, "ann", at={"booking_id": "booking_asked"}),
    Row("GET /sessions/{session_id}/bookings", COORDINATING, "coordinator"),
    Row("POST /claims/{claim_id}/sign", ANN, "ann"),
    Row("POST /claims/{claim_id}/progress", ANN, "ann", {"percent": 50}),
    Row("POST /claims/{claim_id}/complete", COORDINATING, "coordinator"),
    Row("POST /claims/{claim_id}/release", ANN_OR_COORDINATING, "ann", at={"claim_id": "claim_too"}),
    Row("POST /claims/{claim_id}/sign", frozenset({"admin"}), "admin", at=OF_ORGANISATION),
    Row("POST /claims/{claim_id}/progress", frozenset({"admin"}), "admin", {"percent": 50}, OF_ORGANISATION),
    Row("POST /claims/{claim_id}/release", ADMINISTERING, "admin", at=OF_ORGANISATION),
    Row("POST /reviews", SIGNED_IN - ANN, "resident", {"subject": {"type": "claim", "id": "{claim}"}, "stars": 5}),
    Row("GET /redemptions/{redemption_id}", ANN_OR_COORDINATING | {"merchant"}, "ann"),
    Row(
        "POST /redemptions/collect",
        COORDINATING | {"merchant", "device"},
        "device",
        {"pickup_code": "{code_of_redemption}"},
    ),
    Row("POST /redemptions/{redemption_id}/cancel", ANN_OR_COORDINATING, "ann", at={"redemption_id": "redemption_too"}),
    Row("DELETE /registrations/{registration_id}", ANN, "ann"),
    # The area's and the organisation's.
    Row("POST /attendances", COORDINATING | {"device"}, "device", {"ticket": "{ticket}", "action": "check_in"}),
    Row("POST /attendances", COORDINATING | {"device"}, "device", {"claim_id": "{claim}", "action": "check_in"}),
    Row("POST /attendances/{attendance_id}/void", COORDINATING, "coordinator", {"reason": "弄错了"}),
    Row("GET /sessions/{session_id}/attendances", COORDINATING, "coordinator"),
    Row("POST /areas", COORDINATING, "coordinator", {"parent_id": "{area}", "level": "grid", "name": "一网格"}),
    Row("POST /areas", OPERATOR, "operator", {"level": "city", "name": "绵阳市"}),
    Row(
        "POST /categories",
        COORDINATING,
        "coordinator",
        {"area_id": "{area}", "scheme": "S2", "key": "k", "name": "绿色", "name_en": "Green"},
    ),
    Row("POST /centres", COORDINATING, "coordinator", {"area_id": "{area}", "name": "中心", "address": "路"}),
    Row("POST /organisations", COORDINATING, "coordinator", {"area_id": "{area}", "name": "队", "kind": "branch"}),
    Row("GET " + MEMBERS, ADMINISTERING, "admin"),
    Row("POST " + MEMBERS + "/{person_id}/confirm", ADMINISTERING, "admin"),
    Row(
        "POST /registrations",
        ADMINISTERING,
        "admin",
        {"area_id": "{area}", "organisation_id": "{organisation}", "subject": "organisation"},
    ),
    Row("POST /people", COORDINATING, "coordinator", {"display_name": "王奶奶", "area_id": "{area}"}),
    Row("GET /roles", COORDINATING | {"coordinator_elsewhere"}, "coordinator"),
    Row("POST /roles", COORDINATING, "coordinator", MERCHANT),
    Row("POST /roles", OPERATOR, "operator", {**MERCHANT, "role": "coordinator"}),
    Row("POST /roles", OPERATOR, "operator", {"person_id": "{resident}", "role": "operator"}),
    Row(
        "POST /roles",
        COORDINATING,
        "coordinator",
        {"person_id": "{resident}", "role": "organisation_admin", "organisation_id": "{organisation}"},
    ),
    Row("DELETE /roles/{role_id}", COORDINATING, "coordinator"),
    Row("POST /needs/{need_id}/accept", COORDINATING, "coordinator", {"product": TERMS}),
    Row("POST /needs/{need_id}/decline", COORDINATING, "coordinator", {"reason": "重复"}, {"need_id": "need_too"}),
    Row("POST /products", COORDINATING, "coordinator", {**TERMS, "area_id": "{area}"}),
    Row("POST /products", ADMINISTERING, "admin", {**TERMS, "area_id": "{area}", "organisation_id": "{organisation}"}),
    Row(
        "POST /products",
        COORDINATING,
        "coordinator",
        {**TERMS, "area_id": "{area}", "organisation_id": "{organisation}", "publish": True},
    ),
    Row("GET /products/{product_id}", ADMINISTERING, "admin", at={"product_id": "draft"}),
    Row("GET /products/{product_id}/sessions", ADMINISTERING, "admin", at={"product_id": "draft"}),
    Row("PATCH /products/{product_id}", ADMINISTERING, "admin", {"title": "乐园二"}, {"product_id": "draft"}),
    Row("PATCH /products/{product_id}", COORDINATING, "coordinator", {"title": "乐园二"}),
    Row("POST /products/{product_id}/publish", COORDINATING, "coordinator", at={"product_id": "draft"}),
    Row("PATCH /products/{product_id}", COORDINATING, "coordinator", {"title": "乐园三"}, PRODUCT_OF_ORGANISATION),
    Row("POST /products/{product_id}/sessions", ADMINISTERING, "admin", SESSION, PRODUCT_OF_ORGANISATION),
    Row("POST /products/{product_id}/withdraw", ADMINISTERING, "admin", at=PRODUCT_OF_ORGANISATION),
    Row("POST /products/{product_id}/withdraw", COORDINATING, "coordinator", at={"product_id": "product_too"}),
    Row("POST /products/{product_id}/sessions", COORDINATING, "coordinator", SESSION),
    Row("PATCH /sessions/{session_id}", COORDINATING, "coordinator", {"venue": "新中心"}),
    Row(
        "POST /sessions/{session_id}/cancel",
        COORDINATING,
        "coordinator",
        {"reason": "下雨"},
        {"session_id": "session_too"},
    ),
    Row(
        "POST /rewards",
        COORDINATING,
        "coordinator",
        {"area_id": "{area}", "title": "雨伞", "cost_points": 1, "stock": [{"centre_id": "{centre}", "total": 1}]},
    ),
    Row("PATCH /rewards/{reward_id}", COORDINATING, "coordinator", {"cost_points": 2}),
    # The operators'.
    Row("GET /points/ledger/check", OPERATOR, "operator"),
    *(row for name in SERVICE_NAMES for row in _of_operations(f"/services/{name}")),
    Row(
        "POST /staff",
        OPERATOR,
        "operator",
        {"username": "li.si", "password": "correct horse battery", "display_name": "李四"},
    ),
)

# The look-ups of services, by the one service and scope that opens each; no person does.
LOOK_UPS = {
    "GET /internal/challenges/{challenge_id}": "challenges",
    "GET /internal/contacts/{person_id}": "contacts",
    "GET /internal/names": "names",
}

# What nobody else is to read, wherever: a thing's id or secret, and who may.
PRIVATE = {
    "attendance": ANN_OR_COORDINATING,
    "booking": ANN_OR_COORDINATING,
    "booking_asked": ANN_OR_COORDINATING,
    "code_of_redemption": ANN,
    "code_of_redemption_too": ANN,
    "draft": ADMINISTERING,
    "membership": ADMINISTERING | {"member"},
    "message": ANN,
    "phone": ANN,
    "redemption": ANN_OR_COORDINATING | {"merchant"},
    "registration": ANN,
    "role": COORDINATING | {"merchant"},
    "ticket": ANN_OR_COORDINATING,
}

"""What the story tells: the data of `data/`, and who claims what. Everything is named by its key."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from demo.client import Thing

DATA = Path(__file__).parent / "data"

STAR = "star"
COMMUNITY = "yulin-north"
POINTS_A_PARTICIPATION = 10

# Reward, who redeems it, where it waits, and who hands it over.
REDEMPTION = ("haircut", "member-02", "yulin-north-centre", "clerk-yulin-north")

# What organisations grab, through their administrators. Of the Pioneer Supermarket (S1) they claim every product: the
# first of its two administrators' all of them, the second's some jointly.
ORGANISATION_CLAIMS = (
    ("admin-seed-station", "s2-gene"),
    ("admin-seed-station", "s2-legal-tea"),
    ("admin-yulin-company-a", "s2-home-rehab"),
    ("admin-yulin-company-a", "s2-job-training"),
    ("admin-hqu-business", "s3-empty-nest"),
    ("admin-tieli-01", "s5-environment-cleanup"),
    ("admin-tieli-02", "s5-environment-cleanup"),
    ("admin-tieli-01", "s5-elder-help-visit"),
)
S1_JOINTLY = frozenset({"s1-half-past-four", "s1-pottery-family", "s1-wish-come-true"})
S1_ADMINS = ("admin-hexing-company-a", "admin-shuyuan")


@dataclass(frozen=True)
class Script:
    """The data files, as they stand."""

    areas: list[Thing]
    categories: list[Thing]
    organisations: list[Thing]
    centres: list[Thing]
    people: list[Thing]
    products: list[Thing]
    needs: list[Thing]
    rewards: list[Thing]
    participations: list[Thing]
    reviews: list[Thing]

    def completed(self) -> set[str]:
        """The products whose claims are completed."""
        return {part["product"] for part in self.participations if part["state"] == "completed"}

    def star_claims(self) -> list[str]:
        """The products that the star claims: those completed in the story."""
        return [
            part["product"] for part in self.participations if part["person"] == STAR and part["state"] == "completed"
        ]

    def claims(self) -> list[tuple[str, str]]:
        """Everybody's claims: person and product. Every S1 product is claimed, some by two organisations."""
        stars = [(STAR, product) for product in self.star_claims()]
        first, second = S1_ADMINS
        supermarket = [product["key"] for product in self.products if product["source"] == "S1"]
        alone = [(first, product) for product in supermarket]
        jointly = [(second, product) for product in supermarket if product in S1_JOINTLY]
        return [*stars, *ORGANISATION_CLAIMS, *alone, *jointly]

    def scores(self) -> dict[str, int]:
        """The points of each participant: once for each product that they took part in."""
        taken_part: dict[str, set[str]] = {}
        for part in self.participations:
            taken_part.setdefault(part["person"], set()).add(part["product"])
        return {person: POINTS_A_PARTICIPATION * len(products) for person, products in taken_part.items()}


def load_script() -> Script:
    """Read the data files."""
    names = [field.name for field in fields(Script) if field.name != "reviews"]
    files = {name: json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return Script(**{**files, **files["participations"]})

"""What the chapters share: the script, the ids that things got, what lists showed, who acts, the progress shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, TypeVar

from rich.progress import Progress, TaskID

from demo import sign_in
from demo.client import Account, Api, Thing
from demo.script import Script

T = TypeVar("T")
BEFORE_ALL = "2000-01-01T00:00:00Z"


class Known:
    """The things that a list showed, by the values of some of their fields."""

    def __init__(self, account: Account, path: str, *fields: str, **params: Any) -> None:
        self._read = partial(account.list, path, **params)
        self._fields = fields
        self._things: dict[tuple[object, ...], Thing] = {}

    async def look(self) -> None:
        """Read the list, once more if it was read before."""
        for thing in await self._read():
            self.add(thing)

    def add(self, thing: Thing) -> None:
        self._things[tuple(thing[field] for field in self._fields)] = thing

    def find(self, *values: object) -> Thing | None:
        return self._things.get(values)

    def one(self, *values: object) -> Thing:
        """What is known to be there."""
        return self._things[values]

    def all(self) -> Collection[Thing]:
        return self._things.values()


class Stage:
    """Ids stand under the keys of the data."""

    def __init__(self, api: Api, script: Script, operator: Account) -> None:
        self.api = api
        self.script = script
        self.operator = operator
        self.ids: dict[str, str] = {}
        self.needs = Known(operator, "/needs", "title")
        self.sessions = Known(operator, "/sessions", "id", **{"from": BEFORE_ALL})
        self.claims: dict[tuple[str, str], Thing] = {}  # by the claiming person and product
        self.bookings: dict[tuple[str, str], Thing] = {}  # by the guest's id and product
        self.people = {person["key"]: person for person in script.people}
        self.products = {product["key"]: product for product in script.products}
        self.area_of = {organisation["key"]: organisation["area"] for organisation in script.organisations}
        self._parents: dict[str, str | None] = {area["key"]: area["parent"] for area in script.areas}
        self._coordinators = {p["area"]: p["key"] for p in script.people if p["role"] == "coordinator"}
        self._accounts: dict[str, Account] = {}

    def account(self, person: str) -> Account:
        """The person. Roles count from the next sign-in, so nobody acts before they are granted theirs."""
        if person not in self._accounts:
            self._accounts[person] = sign_in.by_phone(self.api, self.people[person]["phone"])
        return self._accounts[person]

    def sessions_of(self, product: str) -> list[Thing]:
        return [session for session in self.sessions.all() if session["product_id"] == self.ids[product]]

    def official(self, area: str) -> Account:
        """Who decides in the area: its coordinator, or that of the nearest area above it, or else the operator."""
        above: str | None = area
        while above is not None:
            if above in self._coordinators:
                return self.account(self._coordinators[above])
            above = self._parents[above]
        return self.operator


class Steps:
    """One chapter's part of the progress bar."""

    def __init__(self, progress: Progress, title: str, api: Api) -> None:
        self._api = api
        self._progress = progress
        self._task: TaskID = progress.add_task(title, total=0)
        self._total = 0

    async def each(
        self,
        things: Collection[T],
        act: Callable[[T], Awaitable[object]],
        look: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Act on all things at once (the API sets the pace); each one done is a step.

        `look` shows `act` what is there already. It comes first, and again whenever a thing has to be acted on again:
        when an answer was lost, what was asked for may be there now.
        """
        if look is not None:
            await look()
        self._total += len(things)
        self._progress.update(self._task, total=self._total)

        async def step(thing: T) -> None:
            await self._api.patiently(partial(act, thing), look)
            self._api.progressed()
            self._progress.advance(self._task)

        async with asyncio.TaskGroup() as group:
            for thing in things:
                group.create_task(step(thing))

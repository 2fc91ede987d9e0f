"""What the chapters share: the script, the ids that things got, who is signed in, the progress shown."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from rich.progress import Progress, TaskID

from demo.client import Account, Api, Thing, sign_in_by_phone
from demo.script import Script

T = TypeVar("T")


class Stage:
    """Ids stand under the keys of the data; people sign in when they first have to act."""

    def __init__(self, api: Api, script: Script, operator: Account) -> None:
        self.api = api
        self.script = script
        self.operator = operator
        self.ids: dict[str, str] = {}
        self.needs: dict[str, Thing] = {}  # by title
        self.sessions: dict[str, list[Thing]] = {}  # by product
        self.claims: dict[tuple[str, str], Thing] = {}  # by the claiming person and product
        self.bookings: dict[tuple[str, str], Thing] = {}  # by the guest's id and product
        self.people = {person["key"]: person for person in script.people}
        self.products = {product["key"]: product for product in script.products}
        self.area_of = {organisation["key"]: organisation["area"] for organisation in script.organisations}
        self._parents: dict[str, str | None] = {area["key"]: area["parent"] for area in script.areas}
        self._coordinators = {p["area"]: p["key"] for p in script.people if p["role"] == "coordinator"}
        self._accounts: dict[str, Account] = {}
        self._signing_in: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def account(self, person: str) -> Account:
        """The person, signed in. Roles count from the next sign-in, so nobody signs in before they are granted."""
        async with self._signing_in[person]:
            if person not in self._accounts:
                self._accounts[person] = await sign_in_by_phone(self.api, self.people[person]["phone"])
            return self._accounts[person]

    async def official(self, area: str) -> Account:
        """Who decides in the area: its coordinator, or that of the nearest area above it, or else the operator."""
        above: str | None = area
        while above is not None:
            if above in self._coordinators:
                return await self.account(self._coordinators[above])
            above = self._parents[above]
        return self.operator


class Steps:
    """One chapter's part of the progress bar."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(title, total=0)
        self._total = 0

    async def each(self, things: Collection[T], act: Callable[[T], Awaitable[object]]) -> None:
        """Act on all things at once (the API sets the pace); each one done is a step."""
        self._total += len(things)
        self._progress.update(self._task, total=self._total)

        async def step(thing: T) -> None:
            await act(thing)
            self._progress.advance(self._task)

        async with asyncio.TaskGroup() as group:
            for thing in things:
                group.create_task(step(thing))


def by_name(things: list[Thing], *names: str) -> dict[tuple[object, ...], str]:
    """Ids of what a list showed, by the values of some of its fields."""
    return {tuple(thing[name] for name in names): thing["id"] for thing in things}

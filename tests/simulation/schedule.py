"""A schedule: what happens in an installation step by step, all of it following from one seed.

Each step draws from randomness of its own, so that steps can be left out and the others stay as they are.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.simulation.actions import ACTIONS, STORIES
from tests.simulation.clients import Answer, Memory, Request
from tests.simulation.databases import Shelf
from tests.simulation.deadlines import next_deadline
from tests.simulation.installation import COPIES, Installation
from tests.simulation.invariants import always, at_rest
from tests.simulation.parts import Build
from tests.simulation.process import Process

STEPS = 90
# How often each kind of step comes.
KINDS = {"act": 40, "again": 5, "relay": 20, "deliver": 30, "chore": 8, "wait": 6}
CRASHES = 0.12
FAULTS = 0.1
FOCUS = 8
PACES = (0.1, 1, 1, 3)
LOOK_EVERY = 15


@dataclass
class Outcome:
    """What a schedule came to: the steps as text, what was wrong at the end, and a digest of all that is kept."""

    seed: int
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    digest: str = ""


async def run(
    shelf: Shelf, furnished: Memory, seed: int, build: Build | None = None, left_out: Collection[int] = ()
) -> Outcome:
    """Run the schedule of this seed, without the steps that are left out, and look whether all is well."""
    await shelf.put_back()
    installation = Installation(shelf, copy.deepcopy(furnished), build)
    await installation.start()
    schedule = Schedule(installation, seed)
    try:
        await schedule.run(left_out)
    except AssertionError as error:
        schedule.outcome.problems.append(str(error))
    finally:
        await installation.stop()
    schedule.outcome.digest = await shelf.digest()
    return schedule.outcome


class Schedule:
    """One run in an installation that has started."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self.installation = installation
        self.memory = installation.memory
        self.seed = seed
        self.outcome = Outcome(seed)
        self._rng = random.Random(f"{seed}/theme")
        # A schedule is about something: what is rare among everything comes up often in some of them.
        story = self._rng.choice(STORIES)
        self._actions = {action: weight * (FOCUS if action in story else 1) for action, weight in ACTIONS.items()}
        self._kinds = {kind: weight * self._rng.choice(PACES) for kind, weight in KINDS.items()}

    async def run(self, left_out: Collection[int]) -> None:
        for number in range(STEPS):
            if number in left_out:
                continue
            await self._step(number)
            if number % LOOK_EVERY == 0:
                await self._look_at(await always(self.installation))
        self._begin("settle")
        await self.installation.settle(self._rng)
        await self._look_at(await at_rest(self.installation))
        await self._end()

    async def _end(self) -> None:
        """Let everything run out that has a deadline; then nothing is open any more."""
        self._begin("end")
        for process in self._everybody():
            for name in process.chores:
                await process.chores[name]()
        self.installation.clock.advance(15 * 24 * 3600)
        for process in self._everybody():
            for name in process.chores:
                await process.chores[name]()
        await self.installation.settle(self._rng)
        await self.installation.keep_house()
        await self._look_at(await at_rest(self.installation, ended=True))

    def _everybody(self) -> list[Process]:
        return list(self.installation.processes.values())

    def _begin(self, name: str) -> None:
        self._rng = random.Random(f"{self.seed}/{name}")
        self.installation.seed(f"{self.seed}/{name}")

    async def _look_at(self, problems: list[str]) -> None:
        assert not problems, "\n".join(problems)

    async def _step(self, number: int) -> None:
        self._begin(str(number))
        rng = self._rng
        self.installation.clock.advance(rng.choice([0, 0.01, 0.3, 2]))
        self.installation.bus.faults = FAULTS
        self.installation.members_away = rng.random() < 0.1
        kind = rng.choices(list(self._kinds), list(self._kinds.values()))[0]
        self.outcome.lines.append(f"{number:3} {self.installation.clock.time:%d %H:%M:%S.%f} {kind}: ")
        said = await getattr(self, f"_{kind}")(rng)
        self.outcome.lines[-1] += said

    def _some_process(self, *services: str) -> Process:
        """One of these services' processes, which dies on its work now and then."""
        chosen = [process for process in self._everybody() if not services or process.service.name in services]
        process = self._rng.choice(chosen)
        if self._rng.random() < CRASHES:
            process.world.fate.hits_left = self._rng.choice([1, 1, 2, 2, 3, 4])
        return process

    def _how(self, process: Process, deaths: int) -> str:
        """How the process's work ended."""
        died = process.deaths[deaths:]
        return f", died at {died[-1]}" if died else ""

    async def _act(self, rng: random.Random) -> str:
        for _ in range(5):
            action = rng.choices(list(self._actions), list(self._actions.values()))[0]
            request = action(self.memory, rng, self.installation.clock.time)
            if request is not None:
                if request.method == "POST":
                    request = Request(**{**vars(request), "key": f"{rng.getrandbits(64):016x}"})
                    self.memory.asked.append(request)
                return await self._ask(request)
        return "nothing to do"

    async def _again(self, rng: random.Random) -> str:
        """A client that is not sure sends a request once more."""
        if not self.memory.asked:
            return "nothing to do"
        return await self._ask(rng.choice(self.memory.asked[-12:]))

    async def _ask(self, request: Request) -> str:
        process = self._some_process(request.service)
        deaths = len(process.deaths)
        answer = await self.installation.ask(request, process)
        if answer is None:
            return f"{process.name} {request}{self._how(process, deaths)}"
        if answer.status >= 500:
            raise AssertionError(f"{request} was answered {answer.status}: {answer.json}")
        self._compare(request, answer)
        self.memory.note(request, answer)
        said = answer.json.get("type", "") if isinstance(answer.json, dict) and answer.status >= 400 else ""
        return f"{process.name} {request} → {answer.status} {said}"

    def _compare(self, request: Request, answer: Answer) -> None:
        """A request with a key, once it was answered well, is answered the same again."""
        if not request.key or answer.status >= 300 or not request.path.endswith(("claims", "bookings", "redemptions")):
            return
        known = self.memory.answered.setdefault(request.key, answer)
        assert known.json["id"] == answer.json["id"], f"{request} made {known.json['id']}, and then {answer.json['id']}"

    async def _relay(self, rng: random.Random) -> str:
        telling = [name for name in COPIES if await self.installation.has_facts_to_send(name)]
        if not telling:
            return "nothing to send"
        process = self._some_process(rng.choice(telling))
        deaths = len(process.deaths)
        sent = await process.do(process.relay())
        return f"{process.name} sends {sent or 0}{self._how(process, deaths)}"

    async def _deliver(self, rng: random.Random) -> str:
        """Hand a process some letters of its queue, in any order, some of them twice."""
        waiting = [name for name, queue in self.installation.bus.queues.items() if queue]
        if not waiting:
            return await self._relay(rng)
        name = rng.choice(waiting)
        queue = self.installation.bus.queues[name]
        letters = rng.sample(queue, min(len(queue), rng.choice([1, 1, 2, 4, 12])))
        if rng.random() < 0.15:
            letters.append(rng.choice(letters))
        process, keep = self._some_process(name), rng.random() < 0.15
        deaths = len(process.deaths)
        await self.installation.hand_over(process, letters, keep=keep)
        types = ", ".join(_type_of(letter) for letter in letters)
        return f"{process.name} gets {types}{' (not acknowledged)' if keep else ''}{self._how(process, deaths)}"

    async def _chore(self, rng: random.Random) -> str:
        process = self._some_process()
        deaths = len(process.deaths)
        name = rng.choice(sorted(process.chores))
        await process.do(process.chores[name]())
        return f"{process.name} {name}{self._how(process, deaths)}"

    async def _wait(self, rng: random.Random) -> str:
        """Time passes: a moment, or until something comes due."""
        due = await next_deadline(self.installation) if rng.random() < 0.7 else None
        now = self.installation.clock.time
        self.installation.clock.advance((due - now).total_seconds() if due else rng.choice([5, 70, 700]))
        return f"until {self.installation.clock.time:%d %H:%M:%S}"


def _type_of(document: str) -> str:
    return document.split('"type":"linli.', 1)[1].split('"', 1)[0]

"""An installation's life, from its first start to its removal, by the commands that an operator has.

The tests share one installation, go in this order, and each brings up what it needs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.script import load_script
from tests.conftest import installation
from tests.distributed.neighbours import publish, take_part, until_all_has_followed
from tests.distributed.test_hardening import published
from tests.journeys.compose import SERVICES, ComposeStack
from tests.journeys.people import OPERATOR_PASSWORD, Actor, operator, random_phone, read_code
from tests.journeys.test_demo import counts, made_by, play

PARTS = (*SERVICES, "gateway", "postgres", "rabbitmq")
SEED = 3
# The star is first, with 250 points.
END = r"^\s*1\s+\S.*\s250\s*$"

pytestmark = pytest.mark.xdist_group("installation")


@pytest.fixture(scope="module")
def linli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """An installation of its own, not yet up."""
    with installation(request.config, tmp_path_factory.mktemp("installation")) as made:
        yield made


def running(linli: ComposeStack) -> ComposeStack:
    """The installation, with everything up."""
    if not linli.is_ready():
        linli.up()
    return linli


def test_services_that_have_never_run_miss_nothing(linli: ComposeStack) -> None:
    linli.up({"points": 0, "notify": 0})
    account = {"username": "neighbour", "password": "a password of theirs"}
    phone = random_phone()
    with operator(linli.url) as staff, Actor(linli.url) as member, Actor(linli.url) as newcomer:
        area = staff.post("/areas", {"level": "city", "name": "乐山市"})["id"]
        # With a password: nobody can be sent a code.
        staff.post("/staff", {**account, "display_name": "邻居"}, 201)
        member.take_tokens(member.post("/auth/token", account))
        member.post("/registrations", {"area_id": area})
        product = publish(staff, area)
        take_part(member, staff, product)
        challenge = newcomer.post("/auth/otp", {"phone": phone}, 202)
        assert linli.containers("points", "notify") == []
        linli.up()
        until_all_has_followed(member, product)
        code = read_code(newcomer, phone)
        newcomer.post("/auth/token", {"challenge_id": challenge["challenge_id"], "code": code})


def test_the_demo_ends_the_same_while_every_part_is_stopped_or_killed_and_started(linli: ComposeStack) -> None:
    url, script, rng = running(linli).url, load_script(), random.Random(SEED)
    with operator(url) as staff:
        before = counts(staff, script)
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(play, url)
        for part in rng.sample(PARTS, len(PARTS)):
            assert not playing.done(), "the demo ended before all had been away"
            rng.choice([linli.stop, linli.kill])(part)
            linli.start(part)
        told = playing.result()
    assert re.search(END, told, re.MULTILINE), told
    with operator(url) as staff:
        made = counts(staff, script)
        assert {name: made[name] - before[name] for name in made} == made_by(script)
        assert re.search(END, play(url), re.MULTILINE)
        assert counts(staff, script) == made


def test_what_is_stopped_keeps_its_data(linli: ComposeStack) -> None:
    with operator(running(linli).url) as staff:
        area = staff.post("/areas", {"level": "city", "name": "绵阳市"})["id"]
    assert linli.make("down").returncode == 0
    assert linli.containers() == []
    linli.up()
    with operator(linli.url) as staff:
        assert staff.get(f"/areas/{area}")["name"] == "绵阳市"


def test_data_of_development_are_refused_in_production(linli: ComposeStack) -> None:
    running(linli)
    linli.development = False
    try:
        refused = linli.make("up")
        assert refused.returncode != 0
        assert "is of development, not of production mode" in refused.stderr
        told = linli.compose("run", "--rm", "--no-deps", "--no-TTY", "members", check=False)
        assert "cannot start" in told
    finally:
        linli.development = True
    assert linli.is_ready()


def test_what_is_wiped_is_gone(linli: ComposeStack) -> None:
    running(linli)
    done = linli.make("down", "WIPE=1")
    assert done.returncode == 0, done.stderr
    for things in ("container", "network", "volume"):
        left = linli.docker(things, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={linli.project}")
        assert left == "", things
    assert not linli.secrets.exists()


def test_production_tells_the_operators_password_and_shows_no_codes(linli: ComposeStack) -> None:
    linli.remove()
    linli.development = False
    [password] = re.findall(r"the password, shown only now, is (\S+)", linli.up())
    assert published(linli) == {("gateway", "127.0.0.1")}
    with Actor(linli.url) as person:
        person.post("/auth/token", {"username": "operator", "password": OPERATOR_PASSWORD}, 401)
        person.take_tokens(person.post("/auth/token", {"username": "operator", "password": password}))
        assert person.get("/areas")["items"] == []
        person.post("/dev/sms", {"phone": random_phone()}, 404)
    assert password not in linli.logs()
    linli.development = True
    refused = linli.make("up")
    assert refused.returncode != 0
    assert "is of production, not of development mode" in refused.stderr

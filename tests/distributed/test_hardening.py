"""The containers as they run: without rights they do not need, and reached from outside through the gateway only."""

from __future__ import annotations

import pytest

from tests.journeys.compose import SERVICES, ComposeStack

PARTS = (*SERVICES, "gateway", "postgres", "rabbitmq", "setup")
TEMPORARY = "/tmp"  # noqa: S108 - in a container of its own
RUNNING = (*SERVICES, "gateway", "postgres", "rabbitmq")


@pytest.mark.parametrize("part", PARTS)
def test_a_container_is_limited_and_may_do_nothing_special(stack: ComposeStack, part: str) -> None:
    [container] = stack.inspect(part)
    host = container["HostConfig"]
    assert container["Config"]["User"].partition(":")[0] not in {"", "0", "root"}
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert 0 < host["Memory"] <= 2**30
    assert 0 < host["PidsLimit"] <= 400
    assert host["LogConfig"]["Config"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("part", RUNNING)
def test_a_process_in_it_has_no_right_and_no_place_to_write_but_its_own(stack: ComposeStack, part: str) -> None:
    folders = ["/", "/etc", "/home", "/opt", "/root", "/run/secrets", "/usr/local/bin", "/app", TEMPORARY]
    try_all = "for folder; do touch $folder/x 2>/dev/null && printf '%s:\\t\\n' $folder; done; cat /proc/self/status"
    printed = stack.execute(part, "bash", "-c", try_all, "bash", *folders)
    found = dict(line.split(":\t", 1) for line in printed.splitlines() if ":\t" in line)
    assert [folder for folder in folders if folder in found] == [TEMPORARY]
    assert found["Uid"].split()[0] != "0"
    assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert found["NoNewPrivs"] == "1"


def test_it_is_reached_from_this_machine_only(stack: ComposeStack) -> None:
    # The broker's management page is there in development mode only: test_installation.py
    assert published(stack) == {("gateway", "127.0.0.1"), ("rabbitmq", "127.0.0.1")}


def published(stack: ComposeStack) -> set[tuple[str, str]]:
    """Which parts have a port on the host, and on which of its addresses."""
    return {
        (container["Config"]["Labels"]["com.docker.compose.service"], binding["HostIp"])
        for container in stack.inspect()
        for bindings in (container["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or ()
    }


def has_a_way_out(stack: ComposeStack, part: str) -> bool:
    routes = [line.split() for line in stack.execute(part, "cat", "/proc/net/route").splitlines()]
    return any(destination == "00000000" for _, destination, *_ in routes)


def test_no_service_reaches_the_world(stack: ComposeStack) -> None:
    assert [part for part in (*SERVICES, "postgres") if has_a_way_out(stack, part)] == []


def test_control_a_way_out_is_seen(stack: ComposeStack) -> None:
    assert has_a_way_out(stack, "gateway")

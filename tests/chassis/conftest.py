"""What the tests of the chassis share: each bus in turn."""

from __future__ import annotations

from functools import partial

import pytest

from tests.chassis.buses import Wire, in_process, over_rabbit


@pytest.fixture(params=["in-process", "rabbit"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """A bus on which the given subscribers listen: first the one of a single process, then RabbitMQ."""
    if request.param == "in-process":
        return in_process
    return partial(over_rabbit, request.getfixturevalue("amqp_url"), request.getfixturevalue("amqp_prefix"))

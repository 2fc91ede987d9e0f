"""What members listens to: nothing of its own; the chassis adds what every service hears for rights and tokens."""

from __future__ import annotations

from chassis.inbox import Handlers

HANDLERS: Handlers = {}

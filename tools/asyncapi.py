"""The AsyncAPI 3 document of the bus, from the contracts and the services' subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chassis.service import Service
from chassis.topology import EXCHANGE
from contracts.event import EVENT_TYPES, SEQUENCE_DIGITS, Event


def document(services: Sequence[Service]) -> dict[str, Any]:
    """One channel per fact; one `send` operation of its producer; one `receive` operation per listening service."""
    facts = sorted(EVENT_TYPES.values(), key=lambda fact: fact.type)
    channels, operations, messages, schemas = {}, {}, {}, {"CloudEvent": _envelope()}
    for fact in facts:
        name = fact.routing_key()
        channels[name] = {
            "address": name,
            "description": fact.__doc__,
            "messages": {fact.__name__: {"$ref": f"#/components/messages/{fact.__name__}"}},
            "bindings": {
                "amqp": {
                    "is": "routingKey",
                    "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "vhost": "/"},
                }
            },
        }
        operations[f"{fact.producer()}.tells.{name}"] = _operation("send", name, fact, fact.producer())
        messages[fact.__name__] = _message(fact)
        schemas.update(_data_schemas(fact))
    for service in services:
        for fact in sorted(service.subscriptions(), key=lambda fact: fact.type):
            name = fact.routing_key()
            operations[f"{service.name}.hears.{name}"] = _operation("receive", name, fact, service.name)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Linli events",
            "version": "1",
            "description": "Past facts in CloudEvents 1.0 (structured JSON). `sequence` counts the versions of the "
            "thing that `partitionkey` names; listeners take a fact once, and copies apply only a higher sequence.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _operation(action: str, channel: str, fact: type[Event], service: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "title": f"{service} {'tells' if action == 'send' else 'hears'} {fact.__name__}",
        "tags": [{"name": service}],
        "messages": [{"$ref": f"#/channels/{channel}/messages/{fact.__name__}"}],
    }


def _message(fact: type[Event]) -> dict[str, Any]:
    return {
        "name": fact.type,
        "title": fact.__name__,
        "summary": (fact.__doc__ or "").split("\n")[0],
        "contentType": "application/cloudevents+json",
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEvent"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": fact.type},
                        "data": {"$ref": f"#/components/schemas/{fact.__name__}"},
                    },
                },
            ]
        },
    }


def _data_schemas(fact: type[Event]) -> dict[str, Any]:
    schema = fact.model_json_schema(ref_template="#/components/schemas/{model}")
    nested = schema.pop("$defs", {})
    return {fact.__name__: schema, **nested}


def _envelope() -> dict[str, Any]:
    text = {"type": "string"}
    properties = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": text,
        "type": text,
        "subject": text,
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "partitionkey": {"type": "string", "description": "Id of the thing that the fact is about."},
        "sequence": {
            "type": "string",
            "pattern": f"^[0-9]{{{SEQUENCE_DIGITS}}}$",
            "description": "That thing's version.",
        },
        "requestid": {"type": "string", "description": "The request that caused the fact, if one did."},
        "traceparent": {"type": "string", "description": "W3C trace context of who told it, where that is traced."},
        "data": {"type": "object"},
    }
    return {
        "type": "object",
        "required": [name for name in properties if name not in {"requestid", "traceparent"}],
        "properties": properties,
    }

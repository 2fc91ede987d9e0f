"""What the gateway answers by itself: liveness, the OpenAPI document and a page that shows it, the start page, and the
operators' page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import orjson
from starlette.responses import HTMLResponse, JSONResponse, Response

from gateway.operate import operators_page

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#f2f2f2;padding:.1em .3em;border-radius:3px}summary{cursor:pointer;padding:.25em 0}"
    ".m{display:inline-block;min-width:4.5em;font-weight:600;color:#0b5394}small{color:#595959}"
)


class Pages:
    """The local answers by path; all of them are the same for everybody."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        openapi = orjson.dumps(document)
        self._answers: dict[str, Response] = {
            "/": _html("Linli 邻里", START_PAGE),
            "/healthz": JSONResponse({"status": "alive"}),
            "/api/v1/openapi.json": Response(openapi, media_type="application/json"),
            "/api/v1/docs": _html("Linli API", _operations(document)),
            **operators_page(),
        }

    def find(self, path: str) -> Response | None:
        """The local answer at this path, if there is one."""
        return self._answers.get(path)


START_PAGE = (
    "<h1>邻里 Linli</h1>"
    '<p lang="zh-CN">邻里服务平台已就绪。网页客户端尚未构建；接口说明见 <a href="/api/v1/docs">/api/v1/docs</a>，'
    '运维见 <a href="/operate">/operate</a>。</p>'
    '<p lang="en">The neighbourhood service marketplace is running. No web client is built here; the API is '
    'described at <a href="/api/v1/docs">/api/v1/docs</a>, operation is at <a href="/operate">/operate</a>.</p>'
)


def _html(title: str, body: str) -> Response:
    document = (
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>{body}</html>'
    )
    return HTMLResponse(document, headers={"Content-Security-Policy": PAGE_POLICY})


def _operations(document: Mapping[str, Any]) -> str:
    """Every operation with who may call it, what it takes and what it answers, grouped by topic; then the schemas."""
    topics: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            topics.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    groups = "".join(f"<h2>{escape(topic)}</h2>{''.join(rows)}" for topic, rows in sorted(topics.items()))
    schemas = document.get("components", {}).get("schemas", {})
    shapes = "".join(_shape(name, schema) for name, schema in schemas.items())
    head = '<h1>Linli API</h1><p><a href="/api/v1/openapi.json">OpenAPI 3.1</a></p>'
    return f'<main lang="en">{head}{SIGN_IN_HINT}{groups}<h2>Schemas</h2>{shapes}</main>'


SIGN_IN_HINT = (
    "<p>Sign in: <code>POST /api/v1/auth/otp</code> with a phone, then <code>POST /api/v1/auth/token</code> with "
    "the code; send the access token as <code>Authorization: Bearer …</code>. It holds five minutes and carries the "
    "roles held when it was signed: <code>POST /api/v1/auth/refresh</code> gives the next one.</p>"
)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    takes = [
        f"<code>{escape(item['name'])}</code> <small>{item['in']}</small>" for item in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {})
    if body:
        takes.append(f"body {_type(_json_schema(body))}")
    gives = [
        f"{status} {_type(_json_schema(answer))}"
        for status, answer in operation.get("responses", {}).items()
        if status != "default"
    ]
    return (
        f'<details><summary><span class="m">{method.upper()}</span> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
        f"<p>Policy <code>{escape(operation['x-linli-policy'])}</code>. Takes: {', '.join(takes) or '–'}. "
        f"Answers: {', '.join(gives) or '–'}</p></details>"
    )


def _json_schema(content: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = content.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    """A schema's fields; those that must be there are marked with an asterisk."""
    required = schema.get("required", [])
    fields = ", ".join(
        f"<code>{escape(field)}</code>{'*' if field in required else ''} {_type(kind)}"
        for field, kind in schema.get("properties", {}).items()
    )
    return f'<p id="{escape(name)}"><b>{escape(name)}</b>: {fields}</p>'


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a word or two, linked where it has a name."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(_type(option) for option in options)
    if "enum" in schema:
        return escape(" | ".join(str(value) for value in schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("format") or schema.get("const") or schema.get("type") or ""))

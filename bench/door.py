"""The CPU that the gateway adds to a request for a product, beside nginx before the same upstream."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from bench.figures import Figure
from bench.parts import Part, cpu_s
from bench.products import product_id
from bench.stage import Stage
from bench.tools import program, request_bytes, wrk
from chassis.api import PREFIX
from chassis.settings import SERVICE_NAMES

CLIENTS = 32
WINDOW_S = 6
IDLE_S = 2
START_TIMEOUT_S = 30
BODY = json.dumps({"id": str(product_id(1)), "title": "为独居老人送餐", "summary": "邻里互助" * 80}, ensure_ascii=False)

CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.error crit;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {server}
}}
"""
UPSTREAM = "server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{body}'; }} }}"
PROXY = """
  upstream catalog {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://catalog; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""


async def measure(stage: Stage) -> list[Figure]:
    """Each before the same upstream, one after the other, twice; the lesser of both."""
    with (
        _nginx(stage, "upstream", UPSTREAM, body=BODY) as upstream,
        stage.gateway(dict.fromkeys(SERVICE_NAMES, upstream.url)) as gateway,
        _nginx(stage, "proxy", PROXY, upstream=upstream.url.removeprefix("http://")) as proxy,
    ):
        costs = [(_cpu_us(stage, gateway), _cpu_us(stage, proxy)) for _ in range(2)]
    gateway_us, nginx_us = (min(cost) for cost in zip(*costs, strict=True))
    name = "CPU of the gateway for a product page"
    return [Figure(name, gateway_us, "µs", nginx_us, "nginx proxy_pass, the same upstream", "≤ 15")]


def _cpu_us(stage: Stage, part: Part) -> float:
    """CPU a request, less what the process takes while nobody asks it."""
    requests = [request_bytes("GET", part.url, f"{PREFIX}/products/{product_id(1)}")] * 2
    wrk(part.url, requests, stage.folder, clients=CLIENTS, seconds=1)
    began = cpu_s(part.pid)
    time.sleep(IDLE_S)
    idle = (cpu_s(part.pid) - began) / IDLE_S
    began = cpu_s(part.pid)
    load = wrk(part.url, requests, stage.folder, clients=CLIENTS, seconds=WINDOW_S).all_answered()
    return (cpu_s(part.pid) - began - idle * load.seconds) / load.answered * 1e6


@contextmanager
def _nginx(stage: Stage, name: str, server: str, **values: str) -> Iterator[Part]:
    folder = stage.folder / name
    folder.mkdir(exist_ok=True)
    port = _free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, server=server.format(port=port, **values)), encoding="utf-8")
    process = subprocess.Popen([*program("nginx", stage.folder), "-c", str(file), "-p", str(folder)])
    try:
        _until_it_listens(port)
        yield Part(int((folder / "nginx.pid").read_text(encoding="utf-8")), f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
            return
        time.sleep(0.05)
    raise RuntimeError("nginx does not start")

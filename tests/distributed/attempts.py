"""Runs inside a service's container, with that service's secrets: tries what its argument lists, prints how each ended.

An attempt is a name and what it is about; it ends in `done` or in the class of the error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel

SECRETS = Path("/run/secrets")
DATABASE_URL = (SECRETS / "linli_database_url").read_text(encoding="utf-8").replace("+asyncpg", "")
AMQP_URL = (SECRETS / "linli_amqp_url").read_text(encoding="utf-8")
LETTER = aio_pika.Message(b"{}")


async def tell(channel: AbstractChannel, routing_key: str) -> None:
    exchange = await channel.get_exchange("domain.events", ensure=False)
    await exchange.publish(LETTER, routing_key, mandatory=False)


async def send_to(channel: AbstractChannel, queue: str) -> None:
    await channel.default_exchange.publish(LETTER, queue)


async def read(channel: AbstractChannel, name: str) -> None:
    queue = await channel.get_queue(name, ensure=False)
    await queue.get(fail=False)


async def purge(channel: AbstractChannel, name: str) -> None:
    queue = await channel.get_queue(name, ensure=False)
    await queue.purge()


async def declare_queue(channel: AbstractChannel, name: str) -> None:
    await channel.declare_queue(name)


async def declare_exchange(channel: AbstractChannel, name: str) -> None:
    await channel.declare_exchange(name)


async def delete_queue(channel: AbstractChannel, name: str) -> None:
    await channel.queue_delete(name)


async def delete_exchange(channel: AbstractChannel, name: str) -> None:
    await channel.exchange_delete(name)


AT_THE_BROKER: dict[str, Callable[[AbstractChannel, str], Awaitable[None]]] = {
    act.__name__: act
    for act in (tell, send_to, read, purge, declare_queue, declare_exchange, delete_queue, delete_exchange)
}


async def sign_in(url: str) -> None:
    connection = await aio_pika.connect(url, timeout=5)
    await connection.close()


async def connect_to(database: str) -> None:
    connection = await asyncpg.connect(DATABASE_URL, database=database, timeout=5)
    await connection.close()


async def execute(statement: str) -> None:
    connection = await asyncpg.connect(DATABASE_URL, timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


ELSEWHERE: dict[str, Callable[[str], Awaitable[None]]] = {act.__name__: act for act in (sign_in, connect_to, execute)}


async def attempt(name: str, about: str) -> str:
    try:
        if name in ELSEWHERE:
            await ELSEWHERE[name](about)
        else:
            connection = await aio_pika.connect(AMQP_URL, timeout=5)
            async with connection, connection.channel() as channel:
                await AT_THE_BROKER[name](channel, about)
    except Exception as error:
        return type(error).__name__
    return "done"


async def main() -> None:
    attempts = json.loads(sys.argv[1])
    json.dump([await attempt(name, about) for name, about in attempts], sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

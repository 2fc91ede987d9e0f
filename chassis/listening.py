"""How a process stops listening without cutting off anybody.

The system connects clients by itself, before the process accepts them. Closing the listening socket resets those that
it has not accepted yet, and what they have sent is lost. So the system is told first to connect nobody any more, and
the socket is closed when all who are connected have been accepted. Who comes in between is not refused: the client's
system tries again after a second and is told then, or the client goes to another copy.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from contextlib import suppress

# How long the system may take to end a handshake that it has begun, and this process to accept.
ACCEPT_LAST_S = 0.2

SO_ATTACH_FILTER = 26  # Linux; Python's socket module does not name it
# A program of the classic packet filter (struct sock_filter), which is given each segment from its TCP header on: drop
# those that ask for a new connection, so that only what has begun goes on.
_FLAGS_OFFSET, _SYN = 13, 0x02
_DROP_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, _FLAGS_OFFSET),  # load the byte with the flags
        (0x45, 0, 1, _SYN),  # go on if the flag is set, else skip one
        (0x06, 0, 0, 0),  # keep nothing
        (0x06, 0, 0, 0xFFFFFFFF),  # keep all
    )
)


def connect_nobody(listener: socket.socket) -> None:
    """Let no new connection begin; those that have begun can still be accepted. Of effect on Linux only."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    described = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(program))  # struct sock_fprog
    # A duplicate, because the loop's object for the socket has no options; the option is the socket's. A kernel without
    # this filter leaves the gap of some milliseconds that every other server has.
    with socket.socket(fileno=os.dup(listener.fileno())) as duplicate, suppress(OSError):
        duplicate.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)

#!/usr/bin/env bash
# Whether the process in this container answers every path it is given with 200. In bash, because a Python for each
# question would cost more than all parts together when idle.
for path; do
  exec 3<>/dev/tcp/127.0.0.1/8000 || exit 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$path" >&3
  read -r _ status _ <&3
  [ "$status" = 200 ] || exit 1
done

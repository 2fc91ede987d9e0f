#!/usr/bin/env bash
# Restarts the copies of a part one after another, the next one when the last is healthy: `make restart PART=orders`.
#
#   deploy/restart.sh PART docker compose -f docker-compose.yml …
#
# Where one does not become healthy it stops there, and the others go on as they are.
set -euo pipefail
part=$1
compose=("${@:2}")
HEALTHY_WITHIN_S=120

copies=$("${compose[@]}" ps --quiet "$part")
[ -n "$copies" ] || { echo "linli: $part is not running" >&2; exit 1; }
[ "$(wc -w <<<"$copies")" -gt 1 ] || echo "linli: $part has one copy: nobody answers for it until it is back"

health() { docker inspect --format '{{.State.Health.Status}}' "$1"; }

for copy in $copies; do
  name=$(docker inspect --format '{{slice .Name 1}}' "$copy")
  # With SIGTERM and the time that docker-compose.yml gives it to end.
  docker restart "$copy" >/dev/null
  end=$((SECONDS + HEALTHY_WITHIN_S))
  until [ "$(health "$copy")" = healthy ]; do
    [ "$SECONDS" -lt "$end" ] || { echo "linli: $name is not healthy after $HEALTHY_WITHIN_S s" >&2; exit 1; }
    sleep 0.5
  done
  echo "linli: restarted $name"
done

#!/bin/sh
# Make the database once, then be it. Understands what the well-known image does: POSTGRES_USER, POSTGRES_PASSWORD,
# POSTGRES_DB, PGDATA; further words are options of the server.
set -eu
umask 077
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ "${1:-}" = postgres ]; then shift; fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?is needed to make the database}"
  # A first attempt that was cut short leaves a folder that initdb would refuse.
  making=$PGDATA.making
  rm -rf "$making"
  mkdir -p "$making"
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  initdb --pgdata="$making" --username="$user" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 >&2
  rm -f /tmp/password
  echo "host all all all scram-sha-256" >> "$making/pg_hba.conf"
  if [ "$database" != postgres ]; then
    echo "CREATE DATABASE \"$database\";" | postgres --single -D "$making" -c jit=off postgres >&2
  fi
  rm -rf "$PGDATA"
  mv "$making" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off "$@"

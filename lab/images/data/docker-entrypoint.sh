#!/bin/bash
# Starts Postgres as the official image documents it: POSTGRES_USER, POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_DB, POSTGRES_INITDB_ARGS
# and /docker-entrypoint-initdb.d act on an empty PGDATA only. A first start that was killed is begun again: the new cluster is made in a
# directory of its own, and what tells a cluster, PG_VERSION, is moved into place last.
set -euo pipefail
if [ "${1:-postgres}" != postgres ] && [ "${1:0:1}" != - ]; then exec "$@"; fi
if [ "${1:-}" = postgres ]; then shift; fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres}
  password=${POSTGRES_PASSWORD:-}
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then password=$(< "$POSTGRES_PASSWORD_FILE"); fi
  if [ -z "$password" ]; then
    echo 'no superuser password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE' >&2
    exit 1
  fi
  making=$PGDATA/.making
  if [ -d "$making" ]; then find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +; fi
  if [ -n "$(find "$PGDATA" -mindepth 1 ! -name lost+found -print -quit 2> /dev/null)" ]; then
    echo "$PGDATA is neither empty nor a cluster" >&2
    exit 1
  fi
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" 2> /dev/null || : # a volume's own directory belongs to another; use a directory below it
  mkdir -m 0700 "$making"
  names=$(mktemp -d) # initdb asks for the name of the user that it runs as, who may have none
  if ! getent passwd "$(id -u)" > /dev/null; then
    printf 'postgres:x:%s:%s::/:/bin/false\n' "$(id -u)" "$(id -g)" > "$names/passwd"
    printf 'postgres:x:%s:\n' "$(id -g)" > "$names/group"
    LD_PRELOAD=$(find /usr/lib -name libnss_wrapper.so -print -quit)
    export LD_PRELOAD NSS_WRAPPER_PASSWD=$names/passwd NSS_WRAPPER_GROUP=$names/group
  fi
  # shellcheck disable=SC2086 # the arguments are meant to be split
  initdb --pgdata="$making" --username="$user" --auth-local=trust --pwfile=<(printf '%s\n' "$password") ${POSTGRES_INITDB_ARGS:-}
  unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  rm -rf "$names"
  echo 'host all all all scram-sha-256' >> "$making/pg_hba.conf"
  pg_ctl --pgdata="$making" --options="-c listen_addresses='' -c unix_socket_directories=/tmp" --wait start
  database=${POSTGRES_DB:-$user}
  export PGHOST=/tmp PGUSER=$user
  if [ "$database" != postgres ]; then createdb "$database"; fi
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sql) psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$database" --file "$script" ;;
      *.sh) bash "$script" ;;
    esac
  done
  pg_ctl --pgdata="$making" --mode=fast --wait stop
  unset PGHOST PGUSER
  find "$making" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
  sync
  mv "$making/PG_VERSION" "$PGDATA"
fi
rm -rf "$PGDATA/.making"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"

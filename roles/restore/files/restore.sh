# shellcheck shell=bash
# The work of a restore of databases inside its pod, a command each (see pod.sh).
set -euo pipefail
export PGAPPNAME=postgres-restore PGCONNECT_TIMEOUT=30
# shellcheck source=roles/restore/files/pod.sh
. "${0%/*}/pod.sh"

# --- the backup --------------------------------------------------------------------------------------------------------------------------------

contents() { # what is in it, which also shows that it is a dump; and the statements that the superuser is to read
  pg_restore --create --list "$work/$1.dump" > "$work/$1.toc" 2> "$work/pg_restore" || problem dump "$1" "$(first_error "$work/pg_restore")"
  entries "$1" 'EXTENSION' > "$work/$1.extensions"
  entries "$1" 'ACL|DEFAULT ACL|DATABASE|DATABASE PROPERTIES|COMMENT - DATABASE' > "$work/$1.privileges"
}

entries() { # DATABASE'S NUMBER, KINDS: their statements
  { grep -E "^[0-9]+; [0-9]+ [0-9]+ ($2) " "$work/$1.toc" || :; } > "$work/$1.use"
  pg_restore --create --use-list="$work/$1.use" --file=- "$work/$1.dump" 2> "$work/pg_restore" || problem dump "$1" "$(first_error "$work/pg_restore")"
}

# --- a moment ---------------------------------------------------------------------------------------------------------------------------------

# stdin: as to start_fetch, a line with a dot, and BACKUP_KEY. $work/points is recover.sh's plan
start_recover() {
  read_secrets
  IFS= read -r key
  in_background recover recover
}

recover() {
  local index
  note 0 recovering
  { printf '%s.\n' "$config" "$identity" && printf '%s\n' "$key"; } |
    WORK=$work/recovery RCLONE_CA_CERT=$work/authorities bash "${0%/*}/recover.sh" "$work/points" "$work" 2>&1 ||
    problem recovery 0 "$(tail -n 1 "$work/recover.out" | cut -c 1-400)"
  while read -r index _; do contents "$index"; done < "$work/databases"
}

# --- a file of the controller ---------------------------------------------------------------------------------------------------------------------

dump() { # DATABASE
  note 0 dumping
  PGOPTIONS='-c statement_timeout=0' pg_dump --format=custom --no-password --lock-wait-timeout=60000 --file="$work/0.dump" "$1" 2> "$work/pg_dump" ||
    problem dumping 0 "$(first_error "$work/pg_dump")"
  contents 0
}

give() { # CHUNK, MIB OF EACH: of the dump, as text
  touch "$work/asked"
  dd if="$work/0.dump" bs=1M skip="$(($1 * $2))" count="$2" status=none | base64
}

take() { # CHUNK: the next of the dump comes by stdin
  touch "$work/asked"
  if [ "$1" = 0 ]; then rm -f "$work/0.dump"; fi
  cat >> "$work/0.dump"
}

digest() { # of the dump, and its size
  touch "$work/asked"
  echo "$(sha256sum < "$work/0.dump" | cut -d ' ' -f 1) $(stat -c %s "$work/0.dump")"
}

# --- into a new database -----------------------------------------------------------------------------------------------------------------------

owned() { # DATABASE'S NUMBER: the statements of objects that are not the database's owner's
  pg_restore --use-list="$work/$1.others" --file=- "$work/$1.dump"
}

# $work/databases has a line for each: NUMBER DATABASE
restore() { # JOBS
  local index database path
  # Nothing reads these databases yet, and the rename that puts them in place flushes the log first.
  local options='-c lock_timeout=30s -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c synchronous_commit=off'
  while read -r index database; do
    note "$index" restoring
    path=$(psql --no-psqlrc --no-align --tuples-only --quiet --dbname "$database" --command 'show search_path' | sed 's/[\\ ]/\\&/g') ||
      problem restore "$index" 'its search path cannot be read'
    rewrite "$index" "$EMPTY_PATH" "$OWN_PATH"
    PGOPTIONS="$options -c search_path=pg_catalog${path:+,$path}" \
      pg_restore --dbname="$database" --use-list="$work/$index.list" --jobs="$1" --no-owner --no-acl --exit-on-error --verbose "$work/$index.dump" \
      > /dev/null 2> "$work/$index.log" ||
      problem restore "$index" "$(grep -E '^pg_restore: (error|from TOC entry)' "$work/$index.log" | cut -c 1-300 | tail -n 2 | tr '\n' ' ')"
    rewrite "$index" "$OWN_PATH" "$EMPTY_PATH"
  done < "$work/databases"
}

# What a function's body names without its schema, as an index, a CHECK or a materialized view may use one, is not found by pg_restore, whose search path
# is empty. Here it keeps the one that it connects with: the system's names, which a dump has without a schema, then the database's own.
EMPTY_PATH="SELECT pg_catalog.set_config('search_path', '', false);"
OWN_PATH=$(printf '%-*s' ${#EMPTY_PATH} 'RESET search_path;')

rewrite() { # DATABASE'S NUMBER, STATEMENT, BY WHICH: in the dump's table of contents, near its beginning
  local dump=$work/$1.dump head before
  head=$(head -c 65536 "$dump" | tr '\0' ' ')
  before=${head%%"$2"*}
  if [ "$before" != "$head" ]; then printf %s "$3" | dd of="$dump" bs=1 seek=${#before} conv=notrunc status=none; fi
}

settle() { # JOBS: masked where there is a mask, and with statistics, which a dump does not have
  local index database
  while read -r index database; do
    if [ -e "$work/$index.mask" ]; then
      note "$index" masking
      PGOPTIONS='-c lock_timeout=30s' psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --single-transaction --dbname "$database" --file "$work/$index.mask" \
        > /dev/null 2> "$work/$index.masking" || problem mask "$index" "$(grep -o 'ERROR: .*' "$work/$index.masking" | cut -c 1-300 | head -n 1)"
    fi
    note "$index" analyzing
    vacuumdb --quiet --analyze-only --jobs="$1" --dbname="$database" 2> "$work/vacuumdb" || # as pg_restore, without the database's search path
      psql --no-psqlrc --quiet --dbname "$database" --command analyze > /dev/null 2>&1 || problem analyze "$index" "$(first_error "$work/vacuumdb")"
  done < "$work/databases"
}

login() { # DATABASE: as the application, over the network; stdin is the query
  PGUSER=$APP_USER PGPASSWORD=$APP_PASSWORD psql --no-psqlrc --no-align --tuples-only --quiet --set ON_ERROR_STOP=1 --dbname "$1"
}

case $1 in
  hold) hold "$2" ;;
  state) state ;;
  put) put ;;
  get) get "${@:2}" ;;
  owned) owned "$2" ;;
  dump) in_background "$2" dump "$3" ;;
  open) in_background open contents 0 ;;
  give) give "$2" "$3" ;;
  take) take "$2" ;;
  digest) digest ;;
  fetch) start_fetch ;;
  recover) start_recover ;;
  restore) in_background restore restore "$2" ;;
  settle) in_background settle settle "$2" ;;
  login) login "$2" ;;
  over) touch "$work/over" ;;
esac

# shellcheck shell=bash
# The work of a restore inside its pod, a command each; the module database_restore calls them by kubectl exec. What takes long runs in the background
# and writes its state to $work, so that a broken connection stops nothing but the asking; and a pod that nobody asks ends by itself, with all it holds.
# The age identity comes by stdin and stays in this shell's memory: never in a file, an argument or a variable of the environment.
set -euo pipefail
export PATH=/opt/tools:$PATH LC_ALL=C PGAPPNAME=postgres-restore PGCONNECT_TIMEOUT=30
work=/work

# The pod's main process: ends once it is told to, or was not asked for $1 seconds.
hold() {
  trap 'exit 0' TERM
  touch "$work/asked"
  while [ ! -e "$work/over" ] && [ $(($(date +%s) - $(stat -c %Y "$work/asked"))) -lt "$1" ]; do sleep 1; done
}

# --- what a module is told -----------------------------------------------------------------------------------------------------------------------

note() { # DATABASE'S NUMBER, what is done
  echo "$*" > "$work/step.new" && mv "$work/step.new" "$work/step"
}

problem() { # KIND DATABASE'S NUMBER, detail: what the module explains
  echo "problem $*" > "$work/problem"
  exit 1
}

first_error() { # PROGRAM'S MESSAGES
  sed -n 's/^[a-z_]*: error: //p' "$1" | head -n 1 | cut -c 1-300
}

state() {
  touch "$work/asked"
  echo "phase $(cat "$work/phase" 2> /dev/null || echo none) $(cat "$work/ended" 2> /dev/null || echo running)"
  local index=''
  if [ -e "$work/step" ]; then
    echo "step $(cat "$work/step")"
    read -r index _ < "$work/step"
  fi
  if [ -e "$work/$index.age" ]; then echo "fetched $(stat -c %s "$work/$index.age")"; fi
  if [ -e "$work/$index.dump" ]; then echo "dumped $(stat -c %s "$work/$index.dump")"; fi
  if [ -e "$work/$index.log" ]; then echo "tables $(grep -c 'finished item [0-9]* TABLE DATA' "$work/$index.log" || :)"; fi
  cat "$work/problem" 2> /dev/null || :
}

in_background() { # PHASE COMMAND...
  rm -f "$work/ended" "$work/problem" "$work/step"
  echo "$1" > "$work/phase"
  (
    set -e # the caller's may be off
    trap 'echo $? > "$work/ended"' EXIT
    "${@:2}"
  ) > "$work/$1.out" 2>&1 < /dev/null &
}

# --- the backup --------------------------------------------------------------------------------------------------------------------------------

# stdin: rclone's configuration, a line with a dot, and the age identity. $work/objects has a line for each database: BYTES SHA256 PATH
start_fetch() {
  read_secrets
  in_background fetch fetch
}

read_secrets() {
  local line
  config='' identity=''
  while IFS= read -r line && [ "$line" != . ]; do config+=$line$'\n'; done
  while IFS= read -r line && [ "$line" != . ]; do identity+=$line$'\n'; done
}

fetch() {
  local index=0 bytes sha256 object
  while read -r bytes sha256 object; do
    fetch_one "$index" "$bytes" "$sha256" "$object"
    index=$((index + 1))
  done < "$work/objects"
}

fetch_one() {
  local encrypted=$work/$1.age dump=$work/$1.dump size
  note "$1" fetching
  rclone copyto --config <(printf %s "$config") --ca-cert "$work/authorities" --inplace --ignore-checksum --multi-thread-streams 0 \
    --contimeout 10s --timeout 60s --retries 3 --low-level-retries 3 "s3:$4" "$encrypted" 2> "$work/rclone" ||
    problem unread "$1" "$(sed 's|^[0-9/]* [0-9:]* [A-Z]* *: *||' "$work/rclone" | tail -n 1 | cut -c 1-300)"
  note "$1" checking
  size=$(stat -c %s "$encrypted")
  if [ "$size" != "$2" ]; then problem size "$1" "$size"; fi
  if [ "$(sha256sum < "$encrypted" | cut -d ' ' -f 1)" != "$3" ]; then problem digest "$1"; fi
  note "$1" decrypting
  printf %s "$identity" | age --decrypt --identity - --output "$dump" "$encrypted" 2> "$work/age" || problem sealed "$1" "$(first_error "$work/age")"
  rm "$encrypted"
  contents "$1"
}

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

put() { # stdin: files, each as a line NAME LINES and so many lines
  local name lines line
  while read -r name lines; do
    while [ "$lines" -gt 0 ] && IFS= read -r line; do
      printf '%s\n' "$line"
      lines=$((lines - 1))
    done > "$work/$name"
  done
}

get() { # FILE...: in the same form
  local name
  for name in "$@"; do
    echo "$name $(wc -l < "$work/$name")"
    cat "$work/$name"
  done
}

# $work/databases has a line for each: NUMBER DATABASE
restore() { # JOBS
  local index database
  # Nothing reads these databases yet, and the rename that puts them in place flushes the log first.
  export PGOPTIONS='-c lock_timeout=30s -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c synchronous_commit=off'
  while read -r index database; do
    note "$index" restoring
    load "$index" "$database" list "$1" || load_rest "$index" "$database" "$1" ||
      problem restore "$index" "$(grep -E '^pg_restore: (error|from TOC entry)' "$work/$index.log" | cut -c 1-300 | tail -n 2 | tr '\n' ' ')"
  done < "$work/databases"
}

load() { # DATABASE'S NUMBER, DATABASE, WHICH LIST, JOBS, options
  pg_restore --dbname="$2" --use-list="$work/$1.$3" --jobs="$4" --no-owner --no-acl --verbose "${@:5}" "$work/$1.dump" > /dev/null 2>> "$work/$1.log"
}

# What a function's body names without its schema, as an index, a CHECK or a materialized view may use one, is not found: pg_restore has an empty search
# path. So what has failed is tried once more, with the database's own; of a table that was not made, the rows have failed as well.
load_rest() { # DATABASE'S NUMBER, DATABASE, JOBS
  local dump=$work/$1.dump empty="SELECT pg_catalog.set_config('search_path', '', false);" head before
  sed -n 's/^pg_restore: from TOC entry \([0-9]*;\).*/^\1/p' "$work/$1.log" > "$work/$1.failed"
  [ -s "$work/$1.failed" ] && grep -f "$work/$1.failed" "$work/$1.list" > "$work/$1.rest" || return 1
  head=$(head -c 65536 "$dump" | tr '\0' ' ') # the statement is in the table of contents, near its beginning
  before=${head%%"$empty"*}
  [ "$before" != "$head" ] || return 1
  printf '%-*s' ${#empty} 'RESET search_path;' | dd of="$dump" bs=1 seek=${#before} conv=notrunc status=none
  : > "$work/$1.log"
  load "$1" "$2" rest "$3" --exit-on-error
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

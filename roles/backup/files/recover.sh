# shellcheck shell=bash
# Brings a Postgres of its own, in this pod's scratch volume, to the state that the environment's had at a moment, and dumps its databases to
# $SCRATCH/dumps. It reads the private key from stdin and keeps it in this shell's memory. Nothing here touches the environment's own Postgres.
#
#     recover.sh                     what is needed is in $PLAN, one each a line: until TIME, base STAMP BYTES SHA256, segment BYTES, database NAME, wal OBJECT
#     recover.sh give FILE PATH      Postgres's restore_command
set -euo pipefail
# shellcheck source=roles/backup/files/archive.sh
. "${0%/*}/archive.sh"
export PGHOST=$SCRATCH PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
data=$SCRATCH/data wal=$SCRATCH/wal log=$SCRATCH/postgres.log

planned() { sed -n "s/^$1 //p" "$PLAN"; }

give() { # a segment from its pieces, filled up to its size; 1 is 'there is none', and above 125 Postgres gives up
  local file end=0
  for file in "$wal/$1".*; do
    if [ ! -e "$file" ]; then return 1; fi
    if [ "${file##*.}" != "$(printf %08X "$end")" ]; then exit 200; fi
    expand < "$file" >> "$2.given" || exit 200
    end=$(stat -c %s "$2.given")
  done
  truncate -s "$(planned segment)" "$2.given"
  mv "$2.given" "$2"
}

if [ "${1:-}" = give ]; then
  rm -f "$3.given"
  give "$2" "$3"
  exit
fi

identity=$(cat)
open() { age --decrypt --identity <(printf '%s\n' "$identity"); }
fail() {
  echo "$1" >&2
  exit 1
}
archive_of "$SYSTEM_IDENTIFIER"
mkdir -p "$wal" "$SCRATCH/fetched" "$SCRATCH/dumps"
mkdir -m 0700 "$data"

read -r stamp bytes sha256 <<< "$(planned base)"
say "fetching the base backup $stamp, $bytes bytes"
mkfifo "$SCRATCH/to-digest" "$SCRATCH/to-count"
sha256sum < "$SCRATCH/to-digest" > "$SCRATCH/digest" &
digest=$!
wc -c < "$SCRATCH/to-count" > "$SCRATCH/count" &
count=$!
rclone cat "$folder/base/$stamp/base.tar.age" | tee "$SCRATCH/to-digest" "$SCRATCH/to-count" | open | expand | tar -xf - -C "$data" ||
  fail "the base backup $stamp could not be fetched, opened or unpacked: see above; is it the private key of the recipients that it was encrypted for?"
wait "$digest" "$count"
if [ "$(tr -d ' ' < "$SCRATCH/count") $(cut -d ' ' -f 1 < "$SCRATCH/digest")" != "$bytes $sha256" ]; then
  fail "the base backup $stamp is not what its manifest says: $(tr -d ' ' < "$SCRATCH/count") bytes in place of $bytes, or another SHA-256"
fi
pg_verifybackup --quiet --no-parse-wal "$data" || fail "the base backup $stamp is not whole"

planned wal > "$SCRATCH/objects"
say "fetching $(wc -l < "$SCRATCH/objects") objects of WAL"
rclone copy --transfers 4 --files-from "$SCRATCH/objects" "$folder/wal" "$SCRATCH/fetched" || fail 'WAL could not be fetched: see above'
while read -r name; do
  payload=$wal/${name%%-*}
  { read -r signature && cat > "$payload"; } < <(open < "$SCRATCH/fetched/$name") || fail "wal/$name cannot be opened"
  rm "$SCRATCH/fetched/$name"
  if [ "$({ printf '%s\n' "$origin/wal/$name" && cat "$payload"; } | hmac)" != "$signature" ]; then
    fail "wal/$name is not authentic: it was written with another BACKUP_KEY, or by somebody else, or changed"
  fi
done < "$SCRATCH/objects"
identity=''

# --- the recovery -------------------------------------------------------------------------------------------------------------------------------

start() { # SETTING...: recovers, then answers at a socket in the scratch volume alone
  local setting arguments=()
  for setting in "$@" "restore_command=bash $(readlink -f "$0") give %f %p" recovery_target_action=promote recovery_target_timeline=current hot_standby=off \
    "hba_file=$SCRATCH/hba" "unix_socket_directories=$SCRATCH" listen_addresses= shared_preload_libraries= archive_mode=off log_destination=stderr \
    logging_collector=off shared_buffers=64MB max_wal_size=1GB fsync=off; do
    arguments+=(-c "$setting")
  done
  : > "$data/recovery.signal"
  postgres -D "$data" "${arguments[@]}" > "$log" 2>&1 &
  server=$!
  until pg_isready --quiet --timeout=5; do
    kill -0 "$server" 2> /dev/null || return 1
    sleep 1
  done
}

echo 'local all postgres trust' > "$SCRATCH/hba"
until=$(planned until)
say "recovering to $until"
no_recovery() { fail "Postgres could not recover: $(grep -E 'FATAL|PANIC' "$log" | grep -v 'is starting up' | tail -n 2)"; }
if ! start "recovery_target_time=$until" recovery_target_inclusive=off; then
  # The archive holds all that was committed before that moment: nothing was, after the last commit that it has.
  grep -q 'recovery ended before configured recovery target was reached' "$log" || no_recovery
  start || no_recovery
fi
grep -oE 'recovery stopping before .*|last completed transaction was .*' "$log" || :

while read -r database; do
  say "dumping $database"
  pg_dump --format=custom --compress=0 --no-password --file="$SCRATCH/dumps/$database.dump" "$database"
done < <(planned database)
kill -INT "$server"
wait "$server" || :
rm -rf "$data" "$wal"
say "recovered to $until"

# shellcheck shell=bash
# Brings a Postgres of its own, below $WORK in this pod's scratch volume, to the state that an environment's had at a moment, and dumps its databases.
#
#     recover.sh PLAN DUMPS          stdin: rclone's configuration, a line with a dot, the age identity, a line with a dot, BACKUP_KEY; all stay in memory.
#                                    The plan has, each on a line: until TIME, origin SERVER/ENVIRONMENT/SYSTEM, folder PATH, segment BYTES,
#                                    base STAMP BYTES SHA256, database NUMBER NAME, wal OBJECT. DUMPS gets a NUMBER.dump of each database.
#     recover.sh give FILE PATH      the recovering Postgres's restore_command
set -euo pipefail
part() { # of stdin, up to a line with a dot
  local line
  while IFS= read -r line && [ "$line" != . ]; do printf '%s\n' "$line"; done
}

config='' identity='' BACKUP_KEY=''
if [ "$1" != give ]; then
  config=$(part) identity=$(part) BACKUP_KEY=$(part)
fi
# shellcheck source=roles/backup/files/archive.sh
. "${0%/*}/archive.sh"
unset RCLONE_S3_NO_HEAD RCLONE_S3_NO_HEAD_OBJECT RCLONE_NO_CHECK_DEST # these credentials may read
data=$WORK/data wal=$WORK/wal fetched=$WORK/fetched plan=$WORK/plan log=$WORK/postgres.log

planned() { sed -n "s/^$1 //p" "$plan"; }

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

if [ "$1" = give ]; then
  rm -f "$3.given"
  give "$2" "$3"
  exit
fi

fail() { # the last line that is logged
  echo "recovery failed: $1" >&2
  exit 1
}

last() { tail -n 1 "$1" 2> /dev/null | cut -c 1-300; }

store() { rclone --config <(printf '%s\n' "$config") "$@"; }
open() { age --decrypt --identity <(printf '%s\n' "$identity"); }
dumps=$2
rm -rf "$WORK"
mkdir -p "$wal" "$fetched"
mkdir -m 0700 "$data"
cp "$1" "$plan"
origin=$(planned origin) folder=s3:$(planned folder)

read -r stamp bytes sha256 <<< "$(planned base)"
say "fetching the base backup $stamp, $bytes bytes"
mkfifo "$WORK/to-digest" "$WORK/to-count"
sha256sum < "$WORK/to-digest" > "$WORK/digest" &
digest=$!
wc -c < "$WORK/to-count" > "$WORK/count" &
count=$!
store cat "$folder/base/$stamp/base.tar.age" 2> "$WORK/store.error" | tee "$WORK/to-digest" "$WORK/to-count" | open 2> "$WORK/age.error" |
  expand 2> "$WORK/expand.error" | tar -xf - -C "$data" 2> "$WORK/tar.error" ||
  fail "the base backup $stamp could not be fetched, opened or unpacked: $(last "$WORK/store.error") $(grep -h error "$WORK/age.error" | head -n 1)"
wait "$digest" "$count"
if [ "$(tr -d ' ' < "$WORK/count") $(cut -d ' ' -f 1 < "$WORK/digest")" != "$bytes $sha256" ]; then
  fail "the base backup $stamp is not what its manifest says: $(tr -d ' ' < "$WORK/count") bytes in place of $bytes, or another SHA-256"
fi
pg_verifybackup --quiet --no-parse-wal "$data" 2> "$WORK/verify.error" || fail "the base backup $stamp is not whole: $(last "$WORK/verify.error")"

planned wal > "$WORK/objects"
say "fetching $(wc -l < "$WORK/objects") objects of WAL"
store copy --transfers 4 --files-from "$WORK/objects" "$folder/wal" "$fetched" 2> "$WORK/store.error" || fail "WAL could not be fetched: $(last "$WORK/store.error")"
while read -r name; do
  payload=$wal/${name%%-*}
  { read -r signature && cat > "$payload"; } < <(open < "$fetched/$name") || fail "wal/$name is missing or cannot be opened"
  rm "$fetched/$name"
  if [ "$({ printf '%s\n' "$origin/wal/$name" && cat "$payload"; } | hmac)" != "$signature" ]; then
    fail "wal/$name is not authentic: it was written with another BACKUP_KEY, or by somebody else, or changed"
  fi
done < "$WORK/objects"
config='' identity='' BACKUP_KEY=''

# --- the recovery -------------------------------------------------------------------------------------------------------------------------------

start() { # SETTING...: recovers, then answers at a socket in the scratch volume alone
  local setting arguments=()
  for setting in "$@" "restore_command=bash $(readlink -f "$0") give %f %p" recovery_target_action=promote recovery_target_timeline=current \
    hot_standby=off "hba_file=$WORK/hba" "unix_socket_directories=$WORK" listen_addresses= shared_preload_libraries= archive_mode=off \
    log_destination=stderr logging_collector=off shared_buffers=32MB max_wal_size=1GB fsync=off; do
    arguments+=(-c "$setting")
  done
  : > "$data/recovery.signal"
  postgres -D "$data" "${arguments[@]}" > "$log" 2>&1 &
  server=$!
  until pg_isready --quiet --timeout=5 --host="$WORK" --username=postgres; do # the user that this runs as may have no name
    kill -0 "$server" 2> /dev/null || return 1
    sleep 1
  done
}

no_recovery() { fail "Postgres could not recover: $(grep -E 'FATAL|PANIC' "$log" | grep -vE 'starting up|not accepting' | tail -n 2 | tr '\n' ' ')"; }

unset PGUSER PGHOST PGPASSFILE
echo 'local all postgres trust' > "$WORK/hba"
until=$(planned until)
say "recovering to $until"
if ! start "recovery_target_time=$until" recovery_target_inclusive=off; then
  # The archive holds all that was committed before that moment: nothing was, after the last commit that it has.
  grep -q 'recovery ended before configured recovery target was reached' "$log" || no_recovery
  start || no_recovery
fi
grep -oE 'recovery stopping before .*|last completed transaction was .*' "$log" || :

while read -r number database; do
  say "dumping $database"
  pg_dump --host="$WORK" --username=postgres --format=custom --compress=0 --no-password --file="$dumps/$number.dump" "$database" \
    2> "$WORK/dump.error" || fail "$database could not be dumped: $(last "$WORK/dump.error")"
done < <(planned database)
kill -INT "$server"
wait "$server" || :
rm -rf "$WORK"

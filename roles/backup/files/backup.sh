# shellcheck shell=bash
# Dumps every database of an environment to S3: pg_dump, read by pg_restore on its way, encrypted, counted and uploaded as a stream. The manifest is
# written last, so a backup that was cut off never counts. Nothing that there is gets deleted or overwritten: these credentials need no right to do so.
set -uo pipefail
# shellcheck source=roles/backup/files/manifest.sh
. "${0%/*}/manifest.sh"
export PATH=/opt/tools:$PATH LC_ALL=C PGAPPNAME=backup PGCONNECT_TIMEOUT=10 PGOPTIONS='-c statement_timeout=60s'
# S3 that does not answer is a failure within two minutes, both attempts of the job together. What there is may be neither read nor looked at.
export RCLONE_CONTIMEOUT=6s RCLONE_TIMEOUT=30s RCLONE_LOW_LEVEL_RETRIES=2 RCLONE_RETRIES=1 RCLONE_S3_NO_HEAD=true RCLONE_S3_NO_HEAD_OBJECT=true
export RCLONE_NO_CHECK_DEST=true RCLONE_BUFFER_SIZE=0 RCLONE_S3_UPLOAD_CONCURRENCY=1 RCLONE_STATS=0
export GOMEMLIMIT=16MiB GOGC=50
LIVENESS='keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000' # a Postgres that is gone is noticed
LOCKED=300000 # milliseconds that pg_dump waits for a table that is being changed
PARTS=9000    # of the 10,000 that S3 lets an object have
PART=5        # MiB of each at least, as S3 wants
STAGES=(pg_dump tee pg_restore age tee-encrypted sha256sum wc rclone)
CAUSES=(0 7 3 2 5 6 1 4) # the same, the likelier cause of a failure first
work=$(mktemp -d)
pids=()
unseen='' # whether S3 would not show something that was sent

say() { printf '%s\n' "$*"; }

stop() { # what still runs
  if [ ${#pids[@]} -gt 0 ]; then
    kill "${pids[@]}" 2> /dev/null
    wait "${pids[@]}" 2> /dev/null
  fi
  rm -rf "$work"
}

fail() { # REASON: the last line that is logged
  trap - TERM INT
  stop
  local told
  told=$(tr -s '\r\n\t ' ' ' <<< "$*" | cut -c 1-800)
  say "backup failed: ${told% }" >&2
  exit 1
}
trap 'fail "it was stopped: by its deadline, by a shutdown or by hand"' TERM INT

said() { # PROGRAM: what it says of its failure, in one line without the time and other ornaments
  local line
  line=$(grep -iE 'error|fatal|fail|denied' "$work/$1.error" | tail -n 1)
  sed -E 's|^[0-9]{4}/[0-9/]+ [0-9:]+ [A-Z]+ *: *||; s/^[a-z_]+: (error|detail|fatal): //
    s/^Failed to [a-z]+( with [0-9]+ errors: last error was)?: //; s/, exceeded maximum number of attempts, [0-9]+//
    s/, https response error StatusCode: 0, RequestID: , HostID: , request send failed//
    s/, https response error StatusCode: [0-9]+, RequestID: [^,]*, HostID: [^,]*, api error/:/; s/, [A-Z][a-z]+ "http[^"]*":/:/
  ' <<< "${line:-$(tail -n 1 "$work/$1.error")}"
}

sql() { # with its script as standard input; fails with Postgres's own words
  psql --no-psqlrc --no-align --tuples-only --quiet --field-separator=' ' --set=ON_ERROR_STOP=1 "$@" 2> "$work/psql.error"
}

now() { printf %s "${EPOCHREALTIME/./}"; } # in microseconds

since() { # MICROSECONDS: seconds since then
  local passed=$((($(now) - $1) / 1000))
  printf '%d.%03d' $((passed / 1000)) $((passed % 1000))
}

# --- one database -----------------------------------------------------------------------------------------------------------------------------

# Each stage is a process of its own whose end is looked at: a pipeline tells nothing of its branches. One that ends early ends those before it.
dump() { # DATABASE MIB: sets `bytes` and `digest`, of the object
  local name index gate failed='' ends=() recipients=()
  for name in $AGE_RECIPIENTS; do recipients+=(--recipient "$name"); done
  rm -f "$work"/*.error "$work"/*.pipe
  for name in dumped read encrypt encrypted digest count store; do mkfifo "$work/$name.pipe" || fail 'the pod has no room for its own files'; done
  pids=()
  pg_dump --format=custom --compress="$compression" --no-password --lock-wait-timeout=$LOCKED --dbname="dbname=$1 $LIVENESS" \
    > "$work/dumped.pipe" 2> "$work/pg_dump.error" &
  pids+=($!)
  tee "$work/read.pipe" < "$work/dumped.pipe" > "$work/encrypt.pipe" 2> "$work/tee.error" &
  pids+=($!)
  pg_restore --file=/dev/null < "$work/read.pipe" 2> "$work/pg_restore.error" &
  pids+=($!)
  age --encrypt "${recipients[@]}" < "$work/encrypt.pipe" > "$work/encrypted.pipe" 2> "$work/age.error" &
  pids+=($!)
  tee "$work/digest.pipe" "$work/count.pipe" < "$work/encrypted.pipe" > "$work/store.pipe" 2> "$work/tee-encrypted.error" &
  pids+=($!)
  sha256sum < "$work/digest.pipe" > "$work/digest" 2> "$work/sha256sum.error" &
  pids+=($!)
  wc -c < "$work/count.pipe" > "$work/count" 2> "$work/wc.error" &
  pids+=($!)
  rclone rcat --s3-chunk-size="$2Mi" "$folder/$1.dump.age" < "$work/store.pipe" 2> "$work/rclone.error" &
  pids+=($!)
  exec {gate}> "$work/store.pipe" # held open: the upload is not complete before all the others are known to have gone well

  for index in "${!STAGES[@]}"; do
    if [ "${STAGES[index]}" = rclone ]; then
      if [ -n "$failed" ]; then kill "${pids[index]}" 2> /dev/null; fi # it takes back what it has uploaded
      exec {gate}>&-
    fi
    wait "${pids[index]}"
    ends+=($?)
    # rclone asks for what it has streamed, which credentials that only write may not: then the list says whether it is there
    if [ -z "$failed" ] && [ "${STAGES[index]}" = rclone ] && grep -q 'HeadObject.*403' "$work/rclone.error"; then ends[index]=0 unseen=yes; fi
    if [ "${ends[index]}" != 0 ]; then failed=yes; fi
  done
  pids=()
  if [ -n "$failed" ]; then blame "$1" "${ends[@]}"; fi
  read -r bytes < "$work/count"
  read -r digest _ < "$work/digest"
}

blame() { # DATABASE EXIT-CODE...: fails with the cause; the other stages ended with it, by SIGPIPE (141) or by us (143)
  local database=$1 index cause='' told
  shift
  local ends=("$@")
  for index in "${CAUSES[@]}"; do
    case ${ends[index]} in
      0 | 141 | 143) continue ;;
      137) told="was killed, as for lack of memory; raise backup_limits.memory" ;;
      *) told=$(said "${STAGES[index]}") ;;
    esac
    if [ -z "$cause" ] && [[ $told != *[Bb]roken\ pipe* ]]; then cause="${STAGES[index]}: $told"; fi
  done
  for index in "${!STAGES[@]}"; do sed "s/^/${STAGES[index]}: /" "$work/${STAGES[index]}.error" | tail -n 5; done >&2
  fail "$database: ${cause:-its stages ended with ${ends[*]}}"
}

# --- the backup -------------------------------------------------------------------------------------------------------------------------------

# a new pod takes a moment to get into the network policies
until pg_isready --quiet --timeout=5 || [ "$SECONDS" -ge 60 ]; do sleep 1; done

# By the clock of Postgres, and never the same stamp for two: the lock is held until the second is over.
identity=$(
  sql << 'SQL'
begin;
select pg_advisory_xact_lock(hashtext('shaka.platform backup')) \g /dev/null
select to_char(clock_timestamp() at time zone 'utc', 'YYYYMMDD"T"HH24MISS"Z"'), system_identifier, current_setting('server_version_num')::int / 10000,
  split_part(current_setting('server_version'), ' ', 1) from pg_control_system();
select pg_sleep(1 - extract(microseconds from clock_timestamp())::bigint % 1000000 / 1e6) \g /dev/null
commit;
SQL
) || fail "Postgres does not answer at $PGHOST: $(said psql)"
read -r stamp system major version <<< "$identity"
began=$(now)
folder=s3:$S3_BUCKET/${S3_PREFIX:+$S3_PREFIX/}$SERVER/$ENVIRONMENT/$system/dumps/$stamp
cluster=$(sha256sum < "$CLUSTER_CA") || fail "there is no $CLUSTER_CA to tell the cluster by"
# made by hand: kubectl create job --from=cronjob/postgres-backup NAME
if [ "$KIND" = scheduled ] && [[ ! $JOB =~ ^postgres-backup-[0-9]{8}$ ]]; then KIND=manual; fi
compression=1 # of gzip; several times as fast is zstd
if [ "$major" -ge 16 ]; then compression=zstd:1; fi
say "backup $stamp of $DATABASES at $PGHOST, to $folder"

roles=$(sql --file="${0%/*}/roles.sql") || fail "the settings of roles cannot be read: $(said psql)"
manifest=$work/manifest summary=''
{
  printf '{"format":1,"kind":"%s","platform":"%s","server":"%s","cluster":"%s",' "$KIND" "$PLATFORM" "$SERVER" "${cluster%% *}"
  printf '"environment":"%s","system_identifier":"%s","postgres":"%s","stamp":"%s",' "$ENVIRONMENT" "$system" "$version" "$stamp"
  printf '"roles":%s,"databases":[' "$roles"
} > "$manifest"
for database in $DATABASES; do
  start=$(now)
  size=$(sql --dbname="$database" --command='select pg_database_size(current_database())') || fail "$database: $(said psql)"
  tables=$(sql --dbname="$database" --file="${0%/*}/tables.sql") || fail "$database: the tables cannot be counted: $(said psql)"
  say "$database: $size bytes"
  least=$((size / 1048576 / PARTS + 1))
  dump "$database" $((least > PART ? least : PART))
  seconds=$(since "$start")
  say "$database: $bytes bytes stored in $seconds s"
  printf -v entry '"name":"%s","object":"%s","bytes":%s,"sha256":"%s","database_bytes":%s,"seconds":%s' \
    "$database" "$database.dump.age" "$bytes" "$digest" "$size" "$seconds"
  printf '%s{%s,"tables":%s}' "${summary:+,}" "$entry" "$tables" >> "$manifest"
  summary+="${summary:+,}{$entry}"
done

if rclone lsf --files-only --format=sp --separator=' ' "$folder/" > "$work/listed" 2> "$work/rclone.error"; then
  sed -E 's/.*"object":"([^"]*)","bytes":([0-9]+).*/\2 \1/' <<< "${summary//\},\{/$'\n'}" | sort > "$work/sent"
  if ! differing=$(sort "$work/listed" | diff "$work/sent" -); then fail "S3 holds other sizes than were sent: $differing"; fi
elif [ -n "$unseen" ]; then
  fail "these credentials may neither look at what was stored nor list it, so nobody knows that it is there; let them list: $(said rclone)"
else
  say "what S3 holds was not compared, as it does not list: $(said rclone)"
fi
printf '],"finished":"%s","seconds":%s}' "$(date -u +%FT%TZ)" "$(since "$began")" >> "$manifest"
sign "$manifest" || fail 'the manifest could not be signed'
rclone rcat "$folder/manifest" < "$manifest" 2> "$work/rclone.error" || fail "the manifest: $(said rclone)"
total=$(since "$began")
rm -rf "$work"
say "backup {\"stamp\":\"$stamp\",\"kind\":\"$KIND\",\"seconds\":$total,\"databases\":[$summary]}"

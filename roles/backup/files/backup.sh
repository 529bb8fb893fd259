# shellcheck shell=bash
# Dumps every database of an environment to S3: pg_dump, read by pg_restore on its way, encrypted, counted and uploaded as a stream. The manifest is
# written last, so a backup that was cut off never counts. Nothing that there is gets deleted or overwritten: these credentials need no right to do so.
set -uo pipefail
# shellcheck source=roles/backup/files/stream.sh
. "${0%/*}/stream.sh"
export PGAPPNAME=backup PGCONNECT_TIMEOUT=10 PGOPTIONS='-c statement_timeout=60s'
LIVENESS='keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000' # a Postgres that is gone is noticed
LOCKED=300000 # milliseconds that pg_dump waits for a table that is being changed

sql() { # with its script as standard input; fails with Postgres's own words
  psql --no-psqlrc --no-align --tuples-only --quiet --field-separator=' ' --set=ON_ERROR_STOP=1 "$@" 2> "$work/psql.error"
}

dump() { # DATABASE BYTES: sets `bytes` and `digest`, of the object
  pipes
  start pg_dump /dev/null "$work/stream.pipe" \
    pg_dump --format=custom --compress="$compression" --no-password --lock-wait-timeout=$LOCKED --dbname="dbname=$1 $LIVENESS"
  store "$1" "$1.dump.age" "$2" pg_restore pg_restore --file=/dev/null
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
folder=$place/$system/dumps/$stamp
compression=1 # of gzip; several times as fast is zstd
if [ "$major" -ge 16 ]; then compression=zstd:1; fi
say "backup $stamp of $DATABASES at $PGHOST, to $folder"

roles=$(sql --file="${0%/*}/roles.sql") || fail "the settings of roles cannot be read: $(said psql)"
summary=''
opening "$system" "$stamp" postgres-backup
printf '"postgres":"%s","roles":%s,"databases":[' "$version" "$roles" >> "$work/manifest"
for database in $DATABASES; do
  start=$(now)
  size=$(sql --dbname="$database" --command='select pg_database_size(current_database())') || fail "$database: $(said psql)"
  tables=$(sql --dbname="$database" --file="${0%/*}/tables.sql") || fail "$database: the tables cannot be counted: $(said psql)"
  say "$database: $size bytes"
  dump "$database" "$size"
  seconds=$(since "$start")
  say "$database: $bytes bytes stored in $seconds s"
  printf -v entry '"name":"%s","object":"%s","bytes":%s,"sha256":"%s","database_bytes":%s,"seconds":%s' \
    "$database" "$database.dump.age" "$bytes" "$digest" "$size" "$seconds"
  printf '%s{%s,"tables":%s}' "${summary:+,}" "$entry" "$tables" >> "$work/manifest"
  summary+="${summary:+,}{$entry}"
done

publish "$began"
total=$(since "$began")
rm -rf "$work"
say "backup {\"stamp\":\"$stamp\",\"kind\":\"$KIND\",\"seconds\":$total,\"databases\":[$summary]}"

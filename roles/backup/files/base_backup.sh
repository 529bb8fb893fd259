# shellcheck shell=bash
# Copies Postgres's files, as pg_basebackup does, compressed and encrypted to S3. WAL that makes the copy consistent is in the archive. The stream is read
# on its way to the very end, where pg_basebackup puts its own manifest; ours is written last, so a copy that was cut off never counts.
set -euo pipefail
# shellcheck source=roles/backup/files/archive.sh
. "${0%/*}/archive.sh"
work=$(mktemp -d)

finish() {
  status=$?
  if [ "$status" != 0 ]; then
    say "base backup ${stamp:-} failed; what was uploaded of it has no manifest and does not count" >&2
    sed 's/^/  /' "$work"/*.error >&2 || :
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 143' TERM INT

read -r stamp system version size total names < <(
  sql --command "select to_char(now() at time zone 'utc', 'YYYYMMDD\"T\"HH24MISS\"Z\"'), system_identifier,
    split_part(current_setting('server_version'), ' ', 1), pg_size_bytes(current_setting('wal_segment_size')),
    (select sum(pg_database_size(oid)) from pg_database), (select json_agg(datname) from pg_database where datallowconn and not datistemplate)
    from pg_control_system()"
) || {
  echo "Postgres does not answer at $PGHOST" >&2
  exit 1
}
archive_of "$system"
say "copying the files of Postgres at $PGHOST, $total bytes of databases, to $folder/base/$stamp"

mkfifo "$work/to-read" "$work/to-digest" "$work/to-count"
expand < "$work/to-read" 2> "$work/expand.error" | { tar -xOf - backup_manifest > "$work/backup_manifest" 2> "$work/tar.error" && cat > /dev/null; } &
reader=$!
sha256sum < "$work/to-digest" > "$work/digest" &
digest=$!
wc -c < "$work/to-count" > "$work/count" &
count=$!
# S3 takes 10,000 parts: each is as large as the databases need, and at least the 5 MiB that S3 wants
part=$((total / 1048576 / 9000 + 5))
ends=(0 0 0 0 0 0)
PGOPTIONS='' pg_basebackup --pgdata=- --format=tar --wal-method=none --checkpoint=fast --label="$stamp" --no-password 2> "$work/pg_basebackup.error" |
  compress |
  tee "$work/to-read" |
  encrypt |
  tee "$work/to-digest" "$work/to-count" |
  rclone rcat --s3-chunk-size "${part}M" --s3-upload-concurrency 1 "$folder/base/$stamp/base.tar.age" 2> "$work/rclone.error" || ends=("${PIPESTATUS[@]}")
if [ "${ends[*]:0:5}" != '0 0 0 0 0' ]; then exit 1; fi
# rclone asks for what it has streamed, which credentials that only write may not: then the list says whether it is there
refused=no
if [ "${ends[5]}" != 0 ]; then
  grep -q 'HeadObject.*403' "$work/rclone.error" || exit 1
  refused=yes
fi
wait "$reader"
wait "$digest" "$count"

range=$(sed -n 's|^{ "Timeline": \([0-9]*\), "Start-LSN": "\([0-9A-F/]*\)", "End-LSN": "\([0-9A-F/]*\)" }$|\1 \2 \3|p' "$work/backup_manifest")
read -r timeline begin end rest <<< "$range"
if [ -z "$end" ] || [ -n "$rest" ]; then
  echo "pg_basebackup's manifest names no one range of WAL: '$range'" >&2
  exit 1
fi
bytes=$(tr -d ' ' < "$work/count")
if ! stored=$(rclone lsf --files-only --format=s --include base.tar.age "$folder/base/$stamp/" 2> "$work/list.error") && [ "$refused" = no ]; then
  stored=$bytes
fi
if [ "$stored" != "$bytes" ]; then
  echo "S3 holds ${stored:-nothing that it would show} of $bytes bytes" >&2
  exit 1
fi
cluster=$(sha256sum < "$CLUSTER_CA")
printf '{"format":1,"kind":"base","platform":"%s","server":"%s","cluster":"%s","environment":"%s","system_identifier":"%s","postgres":"%s","stamp":"%s",' \
  "$PLATFORM" "$SERVER" "${cluster%% *}" "$ENVIRONMENT" "$system" "$version" "$stamp" > "$work/manifest"
printf '"finished":"%s","seconds":%s,"databases":[{"name":"*","object":"base.tar.age","bytes":%s,"sha256":"%s","database_bytes":%s,"seconds":%s}],' \
  "$(date -u +%FT%TZ)" "$SECONDS" "$bytes" "$(cut -d ' ' -f 1 "$work/digest")" "$total" "$SECONDS" >> "$work/manifest"
printf '"wal":{"timeline":%s,"begin":"%s","end":"%s","segment_size":%s,"databases":%s}}' "$timeline" "$begin" "$end" "$size" "$names" >> "$work/manifest"
signature=$(hmac < "$work/manifest")
printf '\n%s\n' "$signature" >> "$work/manifest"
rclone copyto "$work/manifest" "$folder/base/$stamp/manifest" 2> "$work/manifest.error" # a file: what it asks for afterwards is left out
say "base backup $stamp: $bytes bytes in $SECONDS s, WAL from $begin to $end"

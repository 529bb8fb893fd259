# shellcheck shell=bash
# Dumps one database, encrypts it on the way, and streams it to S3. A backup counts from the moment its manifest is there:
# it is written last, so a dump that was cut off is never taken for one, and is removed.
set -euo pipefail
# shellcheck source=roles/platform/files/dumps.sh
. /scripts/dumps.sh
stamp=$(date -u +%Y%m%dT%H%M%SZ)
dump="$stamp.dump.age"
work=$(mktemp -d)

finish() {
  status=$?
  rm -rf "$work"
  if [ "$status" != 0 ]; then
    echo "backup $stamp failed; removing what was uploaded" >&2
    rclone deletefile "$folder/$dump" || echo "nothing was uploaded" >&2
  fi
  exit "$status"
}
trap finish EXIT

await_database
server=$(psql -XAtc 'show server_version') # now: by the end of a long dump the password may have been replaced
echo "dumping $PGDATABASE of $PGHOST to $folder/$dump"
mkfifo "$work/to-digest" "$work/to-count"
sha256sum < "$work/to-digest" > "$work/digest" &
digest=$!
wc -c < "$work/to-count" > "$work/count" &
count=$!
pg_dump --format=custom --compress=6 --no-password |
  age --encrypt --recipient "$AGE_RECIPIENT" |
  tee "$work/to-digest" "$work/to-count" |
  rclone rcat --s3-chunk-size 16M --s3-upload-concurrency 1 "$folder/$dump"
wait "$digest" "$count"

bytes=$(tr -d ' ' < "$work/count")
stored=$(rclone lsf --format s "$folder/$dump")
if [ "$stored" != "$bytes" ]; then
  echo "S3 holds $stored of $bytes bytes" >&2
  exit 1
fi
printf '{"dump": "%s", "bytes": %s, "sha256": "%s", "database": "%s", "server": "%s", "finished": "%s"}\n' \
  "$dump" "$bytes" "$(cut -d ' ' -f 1 "$work/digest")" "$PGDATABASE" "$server" "$(date -u +%FT%TZ)" |
  rclone rcat "$folder/$stamp.json"
echo "backup $stamp: $bytes bytes"
trap 'rm -rf "$work"' EXIT # it counts now, whatever happens below

# Keeps the newest backup of each of the last KEEP_DAILY days, KEEP_WEEKLY weeks and KEEP_MONTHLY months that have one.
declare -A seen=() count=([d]=0 [w]=0 [m]=0) most=([d]=$KEEP_DAILY [w]=$KEEP_WEEKLY [m]=$KEEP_MONTHLY)
rclone lsf --include '*.json' "$folder" | sort -r > "$work/manifests"
while read -r manifest; do
  name=${manifest%.json}
  day=${name:0:8}
  keep=no
  for slot in "d$day" "w$(date -u -d "$day" +%G%V)" "m${day:0:6}"; do
    kind=${slot:0:1}
    if [ -z "${seen[$slot]:-}" ] && [ "${count[$kind]}" -lt "${most[$kind]}" ]; then
      keep=yes
      count[$kind]=$((count[$kind] + 1))
    fi
    seen[$slot]=1
  done
  if [ "$keep" = no ]; then
    echo "removing $name"
    rclone deletefile "$folder/$manifest"
    rclone deletefile "$folder/$name.dump.age"
  fi
done < "$work/manifests"

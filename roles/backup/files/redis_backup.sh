# shellcheck shell=dash
# Copies a Redis to S3 as its replicas get it: an RDB file, read by redis-check-rdb on its way (see stream.sh). It is of one moment; Redis goes on meanwhile.
# shellcheck source=roles/backup/files/stream.sh
. "${0%/*}/stream.sh"
MARK=40 # bytes that Redis ends the stream with, which are not the file's
REDISCLI_AUTH=$(printf 'redis-backup %s' "$BACKUP_KEY" | sha256sum)
export REDISCLI_AUTH="${REDISCLI_AUTH%% *}"

info() { # NAME: what redis-check-rdb has told of the file
  sed -nE "s/^\[offset [0-9]+\] AUX FIELD $1 = '(.*)'$/\1/p" "$work/checked"
}

check() { # the file on stdin; redis-check-rdb tells what is wrong among all else. It opens what it reads, and would wait for who has written a named pipe
  local ended
  cat | redis-check-rdb /dev/stdin && return
  ended=$?
  grep '^\[offset' "$work/checked" | tail -n 1 >&2
  return "$ended"
}

# a new pod takes a moment to get into the network policies
began=$(now)
until answer=$(timeout 5 redis-cli -h "$REDIS_HOST" --user redis-backup ping 2>&1) && [ "$answer" = PONG ]; do
  if [ $(($(now) - began)) -gt 6000 ]; then fail "Redis does not answer at $REDIS_HOST: ${answer:-no answer}"; fi
  sleep 1
done

stamp=$(date -u +%Y%m%dT%H%M%SZ)
began=$(now)
system=$(printf %.16s "$cluster") # a Redis has no name of its own: that of the cluster it runs in
folder=$place/$system/redis/$stamp
say "copy $stamp of Redis at $REDIS_HOST, to $folder"
opening "$system" "$stamp" redis-backup
pipes marked
start redis-cli /dev/null "$work/marked.pipe" redis-cli -h "$REDIS_HOST" --user redis-backup --rdb -
start head "$work/marked.pipe" "$work/stream.pipe" head -c "-$MARK"
store redis redis.rdb.age 0 redis-check-rdb check
keys=$(sed -n 's/^\[info\] \([0-9]*\) keys read$/\1/p' "$work/checked")
seconds=$(since "$began")
printf '"redis":"%s","databases":[{"name":"redis","object":"redis.rdb.age","bytes":%s,"sha256":"%s",' "$(info redis-ver)" "$bytes" "$digest" >> "$work/manifest"
printf '"database_bytes":%s,"seconds":%s,"tables":{"keys":%s}}' "$(info used-mem)" "$seconds" "$keys" >> "$work/manifest"
publish "$began"
summary=$(printf '{"name":"redis","bytes":%s,"database_bytes":%s,"seconds":%s}' "$bytes" "$(info used-mem)" "$seconds")
total=$(since "$began")
rm -rf "$work"
say "backup {\"stamp\":\"$stamp\",\"kind\":\"$KIND\",\"seconds\":$total,\"databases\":[$summary]}"

# shellcheck shell=bash
# Archives Postgres's WAL as it is written: pg_receivewal receives it, and what came in the last INTERVAL seconds goes to S3, compressed and encrypted.
#
# Postgres holds WAL back for a slot that this script moves only over what is in S3, never for what was merely received. So nothing here needs to last: when
# the pod is lost, or S3 is away, Postgres still has it, up to its max_slot_wal_keep_size. Beyond that the slot is lost, a new stream begins and with it
# a new base backup; points in time between the two cannot be recovered. The slot's name says when its stream began: wal_archive_TIMELINE_STAMP.
set -euo pipefail
# shellcheck source=roles/backup/files/archive.sh
. "${0%/*}/archive.sh"
INTERVAL=${INTERVAL:-20} HEARTBEAT=300 BASE_RETRY=300 BASE_LOOK=3600 BASE_DEADLINE=${BASE_DEADLINE:-14400} # seconds
RECEIVER=wal_archive_receiver
received=$WORK/received outgoing=$WORK/outgoing
system='' stream='' receiver='' watcher='' base='' base_job='' base_next=0 beat=0 problem='' sent=0 flushed=0 room=-1 state=''
started=$(date +%s) covered=0 # all that was committed before the moment `covered` is in S3

# --- what it tells ---------------------------------------------------------------------------------------------------------------------------

lsn() { printf '%X/%X' $(($1 >> 32)) $(($1 & 0xffffffff)); }

tell() { # the state, for probes and verify; a problem is logged when it begins, changes and ends
  local at making=false
  at=$(date +%s)
  if [ -n "$base_job" ]; then making=true; fi
  if [ "$1" != "$problem" ]; then
    problem=$1
    say "${problem:-all is well again}"
  fi
  printf '{"at":%s,"covered":%s,"lag":%s,"sent":"%s","written":"%s","stream":"%s","kept":"%s","room":%s,"base":"%s","making_base":%s,"problem":"%s"}\n' \
    "$at" "$covered" $((at - (covered > started ? covered : started))) "$(lsn "$sent")" "$(lsn "$flushed")" "$stream" "$state" "$room" "$base" "$making" \
    "$(tr -d '"\\\t\r' <<< "${problem//$'\n'/ }")" > "$WORK/status.new"
  mv "$WORK/status.new" "$WORK/status"
  echo "$covered" > "$WORK/covered.new"
  mv "$WORK/covered.new" "$WORK/covered"
}

failed() { # says why, in one line, and fails
  local why=${2##*$'\n'}
  tell "$1: ${why:-no answer in time}"
  return 1
}

end() { # a job by its signal
  if [ -n "$2" ]; then
    kill "-$1" "$2" 2> /dev/null || :
    wait "$2" 2> /dev/null || :
  fi
}

stop() {
  trap - TERM INT
  end TERM "$base_job"
  end KILL "$watcher"
  end KILL "$receiver"
  exit 0
}
trap stop TERM INT

exec {never}<> <(:)
pause() { read -r -t "$1" -u "$never" || :; } # unlike sleep, it ends at once with a signal

# --- the stream of WAL -------------------------------------------------------------------------------------------------------------------------

QUESTION="
select to_char(now() at time zone 'utc', 'YYYYMMDD\"T\"HH24MISS\"Z\"'), extract(epoch from now())::bigint, system_identifier, timeline_id,
  pg_size_bytes(current_setting('wal_segment_size')), pg_current_wal_flush_lsn() - '0/0',
  coalesce(slot_name, '-'), coalesce(restart_lsn - '0/0', 0), coalesce(wal_status, '-'), coalesce(safe_wal_size, -1)
from pg_control_system(), pg_control_checkpoint()
  left join (select * from pg_replication_slots where slot_name ~ '^wal_archive_[0-9]' order by slot_name desc limit 1) slot on true"
ARRIVED="select coalesce(max(write_lsn - '0/0'), 0) from pg_stat_replication where application_name = 'wal_archive'"

look() { # what Postgres says now
  local answer found
  answer=$(sql --command "$QUESTION" 2>&1) || failed "Postgres does not answer at $PGHOST" "$answer" || return
  read -r now seconds found timeline size flushed slot restart state room <<< "$answer"
  if [ -n "$system" ] && [ "$system" != "$found" ]; then
    say "this is another Postgres than before ($found, not $system): beginning anew"
    end TERM "$base_job"
    end KILL "$watcher"
    end KILL "$receiver"
    exec bash "$0"
  fi
  system=$found
  archive_of "$system"
}

follow() { # the stream that there is, or a new one where it cannot go on
  local answer
  case $slot:$state in
    -:*) ;;
    *:lost) say "Postgres no longer has the WAL after $(lsn "$sent"), of which it kept max_slot_wal_keep_size: what was committed from then until the next base backup cannot be recovered by time" ;;
    "wal_archive_${timeline}_"*) if [ "$stream" = "$slot" ] && kill -0 "$receiver" 2> /dev/null; then return 0; fi ;;
    *) say "Postgres is on timeline $timeline now" ;;
  esac
  end KILL "$watcher"
  end KILL "$receiver" # it may be stopped
  receiver='' watcher=''
  answer=$(
    sql 2>&1 --set=timeline="$timeline" --set=new="wal_archive_${timeline}_${now,,}" --set=receiver=$RECEIVER << 'SQL'
select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = :'receiver' and active;
select pg_drop_replication_slot(slot_name) from pg_replication_slots
  where slot_name = :'receiver' or (slot_name ~ '^wal_archive_[0-9]' and (wal_status = 'lost' or slot_name !~ ('^wal_archive_' || :'timeline' || '_')));
select pg_create_physical_replication_slot(:'new', true) where not exists(select from pg_replication_slots where slot_name ~ '^wal_archive_[0-9]');
select slot_name, restart_lsn - '0/0', pg_copy_physical_replication_slot(slot_name, :'receiver') is not null
  from pg_replication_slots where slot_name ~ '^wal_archive_[0-9]' order by slot_name desc limit 1;
SQL
  ) || failed 'Postgres gives no slot for the stream of WAL' "$answer" || return
  read -r stream restart _ <<< "${answer##*$'\n'}"
  if [ "$stream" != "$slot" ]; then
    say "a new stream of WAL begins: $stream"
    base='' base_next=0
  fi
  slot=$stream
  sent=$((restart - restart % size)) # whole segments: a recovery reads each from its beginning
  rm -rf "$received" "$outgoing"
  mkdir -p "$received" "$outgoing"
  pg_receivewal --directory="$received" --slot=$RECEIVER --no-sync --status-interval=1 --no-password &
  receiver=$!
  watch "$receiver" &
  watcher=$!
}

watch() { # stops the receiver while what it received, and S3 did not take, is its share of the disk
  local most=$((192 * 1048576 / size)) files held=''
  while kill -0 "$1" 2> /dev/null; do
    files=("$received"/*)
    if [ ${#files[@]} -gt $((most > 4 ? most : 4)) ]; then
      if [ -z "$held" ]; then kill -STOP "$1" || return 0; fi
      held=yes
    elif [ -n "$held" ]; then
      kill -CONT "$1" || return 0
      held=''
    fi
    pause 1
  done
}

# --- into the archive ----------------------------------------------------------------------------------------------------------------------------

segment() { # the name of the segment that holds a position
  printf '%08X%08X%08X' "$timeline" $(($1 / size / (0x100000000 / size))) $(($1 / size % (0x100000000 / size)))
}

pack() { # SEGMENT START END SUFFIX: makes an object of the archive
  local file=$received/$1 name
  printf -v name '%s.%08X-%08X.%s%s.age' "$1" "$2" "$3" "$now" "$4"
  if [ ! -e "$file" ]; then file=$file.partial; fi
  if [ "$2" = "$3" ]; then file=/dev/null; fi
  dd if="$file" bs=65536 iflag=skip_bytes,count_bytes,fullblock skip="$2" count=$(($3 - $2)) status=none | compress > "$WORK/packed" &&
    { { printf '%s\n' "$origin/wal/$name" && cat "$WORK/packed"; } | hmac && cat "$WORK/packed"; } | encrypt > "$outgoing/$name"
}

pack_until() { # POSITION: all from `sent` on, at most 8 segments; sets `packed`, where that ended
  local from=$sent offset bytes suffix name
  while :; do
    offset=$((from % size)) name=$(segment "$from")
    bytes=$(($1 - from < size - offset ? $1 - from : size - offset)) suffix=.more
    if [ $((from + bytes)) = "$flushed" ]; then suffix=''; fi
    # a segment that is complete goes up whole, in place of its last piece
    pack "$name" $((offset + bytes == size ? 0 : offset)) $((offset + bytes)) "$suffix" || return
    from=$((from + bytes))
    if [ "$from" = "$1" ] || [ $((from - sent)) -ge $((8 * size)) ]; then break; fi
  done
  packed=$from
}

arrived_whole() { # sets `whole`: where the last segment ends that is here whole
  local name='' files=("$received"/????????????????????????) per=$((0x100000000 / size))
  whole=0 name=${files[-1]##*/}
  if [ -e "${files[-1]}" ]; then whole=$(((16#${name:8:8} * per + 16#${name:16} + 1) * size)); fi
}

archive() { # what was written when Postgres was asked, as far as it has arrived
  local arrived=0 whole answer tries goal packed
  for ((tries = 0; tries < 8; tries++)); do
    arrived=$(sql --command "$ARRIVED" 2>&1) || failed "Postgres does not answer at $PGHOST" "$arrived" || return
    # Postgres knows nothing of a receiver that was stopped for longer than wal_sender_timeout; what it had received is here all the same
    arrived_whole
    arrived=$((arrived > whole ? arrived : whole))
    if [ "$arrived" -ge "$flushed" ] || [ $((arrived - sent)) -ge $((8 * size)) ]; then break; fi
    pause 1
  done
  goal=$((arrived < flushed ? arrived : flushed))
  if [ "$goal" -lt "$flushed" ] && [ "$goal" -le "$sent" ]; then
    failed 'pg_receivewal has not received what was written' "$(lsn "$flushed")" || return
  fi
  rm -f "$outgoing"/*
  answer=$(pack_until "$goal" 2>&1 && echo "$packed") || failed 'WAL could not be compressed and encrypted' "$answer" || return
  packed=${answer##*$'\n'}
  answer=$(timeout 60 rclone copy "$outgoing" "$folder/wal" 2>&1) || failed 'S3 does not take WAL' "$answer" || return
  rm -f "$outgoing"/*
  for ((; sent / size < packed / size; sent = sent - sent % size + size)); do rm -f "$received/$(segment "$sent")"; done
  sent=$packed beat=$seconds
  answer=$(sql --set=slot="$slot" --set=sent="$(lsn "$sent")" 2>&1 << 'SQL'
select pg_replication_slot_advance(slot_name, :'sent') from pg_replication_slots where slot_name = :'slot' and restart_lsn < :'sent';
SQL
  ) || failed "Postgres does not move the slot $slot" "$answer"
}

ensure_base() { # a base backup since the stream began
  local answer
  if [ -n "$base_job" ]; then
    if kill -0 "$base_job" 2> /dev/null; then return 0; fi
    wait "$base_job" && base_next=0 beat=0 # the next WAL says that this base backup is whole
    base_job=''
  fi
  if [ "$seconds" -lt "$base_next" ]; then return 0; fi
  base_next=$((seconds + BASE_RETRY))
  answer=$(timeout 60 rclone lsf --recursive --files-only --include '*/manifest' "$folder/base" 2>&1) ||
    [[ $answer == *'directory not found'* ]] || failed 'S3 does not list the base backups' "$answer" || return
  base=$(grep -E '^[0-9]{8}T[0-9]{6}Z/manifest$' <<< "$answer" | sort | tail -n 1 | cut -d / -f 1) || base=''
  if [[ ${base,,} > ${stream##*_} ]]; then
    base_next=$((seconds + BASE_LOOK)) # others are made by schedule
  else
    base=''
    timeout "$BASE_DEADLINE" bash "${0%/*}/base_backup.sh" &
    base_job=$!
  fi
}

round() {
  look && follow || return
  if [ "$flushed" -gt "$sent" ] || [ $((seconds - beat)) -ge $HEARTBEAT ]; then archive || return; fi
  if [ "$sent" -ge "$flushed" ]; then covered=$seconds; fi
  ensure_base && tell ''
}

mkdir -p "$WORK"
while :; do
  wait_for=$INTERVAL began=$SECONDS
  round || wait_for=5
  if [ "$sent" -lt "$flushed" ] && [ "$wait_for" = "$INTERVAL" ]; then continue; fi # more has arrived than one round takes
  pause $((wait_for - SECONDS + began > 1 ? wait_for - SECONDS + began : 1))
done

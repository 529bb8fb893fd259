# shellcheck shell=dash disable=SC2034,SC2086,SC2154 # lists are split into words; what the scripts set and use
# What the scripts of backups share: a stream is read to its end on its way, encrypted, counted and uploaded. The manifest is written last, so a backup
# that was cut off never counts. Nothing that there is gets deleted or overwritten: these credentials need no right to do so. For any shell: the image of
# Redis may have no bash.
set -u
# shellcheck source=roles/backup/files/manifest.sh
. "${0%/*}/manifest.sh"
export PATH="/opt/tools:$PATH" LC_ALL=C
# S3 that does not answer is a failure within two minutes, both attempts of the job together. What there is may be neither read nor looked at.
export RCLONE_CONTIMEOUT=6s RCLONE_TIMEOUT=30s RCLONE_LOW_LEVEL_RETRIES=2 RCLONE_RETRIES=1 RCLONE_S3_NO_HEAD=true RCLONE_S3_NO_HEAD_OBJECT=true
export RCLONE_NO_CHECK_DEST=true RCLONE_BUFFER_SIZE=0 RCLONE_S3_UPLOAD_CONCURRENCY=1 RCLONE_STATS=0
export GOMEMLIMIT=16MiB GOGC=50
PARTS=9000 # of the 10,000 that S3 lets an object have
PART=5     # MiB of each at least, as S3 wants
work=$(mktemp -d)
stages='' pids=''
unseen='' # whether S3 would not show something that was sent

say() { printf '%s\n' "$*"; }

stop() { # what still runs
  if [ -n "$pids" ]; then
    kill $pids 2> /dev/null
    wait $pids 2> /dev/null
  fi
  rm -rf "$work"
}

fail() { # REASON: the last line that is logged
  local told
  trap - TERM INT
  stop
  told=$(printf %s "$*" | tr -s '\r\n\t ' ' ' | cut -c 1-800)
  say "backup failed: ${told% }" >&2
  exit 1
}
trap 'fail "it was stopped: by its deadline, by a shutdown or by hand"' TERM INT

said() { # PROGRAM: what it says of its failure, in one line without the time and other ornaments
  local line
  line=$(grep -iE 'error|fatal|fail|denied' "$work/$1.error" | grep -v age/report | tail -n 1)
  printf '%s\n' "${line:-$(tail -n 1 "$work/$1.error")}" | sed -E '
    s|^[0-9]{4}/[0-9/]+ [0-9:]+ [A-Z]+ *: *||; s/^[a-z_]+: (error|detail|fatal): //
    s/^Failed to [a-z]+( with [0-9]+ errors: last error was)?: //; s/, exceeded maximum number of attempts, [0-9]+//
    s/, https response error StatusCode: 0, RequestID: , HostID: , request send failed//
    s/, https response error StatusCode: [0-9]+, RequestID: [^,]*, HostID: [^,]*, api error/:/; s/, [A-Z][a-z]+ "http[^"]*":/:/
  '
}

now() { # in hundredths of a second
  local up rest
  read -r up rest < /proc/uptime
  printf %s "${up%.*}${up#*.}"
}

since() { # HUNDREDTHS: seconds since then
  local passed
  passed=$(($(now) - $1))
  printf '%d.%02d' $((passed / 100)) $((passed % 100))
}

# --- a stream ---------------------------------------------------------------------------------------------------------------------------------

pipes() { # NAME...: the caller's, besides those of the stream
  local name
  rm -f "$work"/*.error "$work"/*.pipe
  for name in "$@" stream read encrypt encrypted digest count store; do
    mkfifo "$work/$name.pipe" || fail 'the pod has no room for its own files'
  done
}

# Each stage is a process of its own whose end is looked at: a pipeline tells nothing of its branches. One that ends early ends those before it.
start() { # STAGE INPUT OUTPUT COMMAND...
  local stage="$1" input="$2" output="$3"
  shift 3
  "$@" < "$input" > "$output" 2> "$work/$stage.error" &
  stages="$stages $stage" pids="$pids $!"
}

# The stages before are the caller's, and end in stream.pipe. COMMAND reads all of it, into $work/checked. Sets `bytes` and `digest`, of the object.
store() { # WHAT OBJECT BYTES-EXPECTED CHECKER COMMAND...
  local what="$1" object="$2" least="$(($3 / 1048576 / PARTS + 1))" checker="$4" makers="$stages" name ended failed=''
  shift 4
  if [ "$least" -lt "$PART" ]; then least=$PART; fi
  start tee "$work/stream.pipe" "$work/encrypt.pipe" tee "$work/read.pipe"
  start "$checker" "$work/read.pipe" "$work/checked" "$@"
  set --
  for name in $AGE_RECIPIENTS; do set -- "$@" --recipient "$name"; done
  start age "$work/encrypt.pipe" "$work/encrypted.pipe" age --encrypt "$@"
  start tee-encrypted "$work/encrypted.pipe" "$work/store.pipe" tee "$work/digest.pipe" "$work/count.pipe"
  start sha256sum "$work/digest.pipe" "$work/digest" sha256sum
  start wc "$work/count.pipe" "$work/count" wc -c
  start rclone "$work/store.pipe" /dev/null rclone rcat --s3-chunk-size="${least}Mi" "$folder/$object"
  exec 9> "$work/store.pipe" # held open: the upload is not complete before all the others are known to have gone well

  set -- $pids
  for name in $stages; do
    if [ "$name" = rclone ]; then
      if [ -n "$failed" ]; then kill "$1" 2> /dev/null; fi # it takes back what it has uploaded
      exec 9>&-
    fi
    wait "$1"
    ended=$?
    # rclone asks for what it has streamed, which credentials that only write may not: then the list says whether it is there
    if [ -z "$failed" ] && [ "$name" = rclone ] && grep -q 'HeadObject.*403' "$work/rclone.error"; then ended=0 unseen=yes; fi
    if [ "$ended" != 0 ]; then failed=yes; fi
    echo "$ended" > "$work/$name.ended"
    shift
  done
  pids=''
  # the likelier cause of a failure first
  if [ -n "$failed" ]; then blame "$what" $makers rclone age "$checker" sha256sum wc tee tee-encrypted; fi
  stages=''
  read -r bytes < "$work/count"
  read -r digest name < "$work/digest"
  echo "$bytes $object" >> "$work/sent"
}

blame() { # WHAT STAGE...: fails with the cause; the other stages ended with it, by SIGPIPE (141) or by us (143)
  local what="$1" stage ended cause='' told ends=''
  shift
  for stage in "$@"; do
    read -r ended < "$work/$stage.ended"
    ends="$ends $stage $ended"
    case $ended in
      0 | 141 | 143) continue ;;
      137) told="was killed, as for lack of memory; raise backup_limits.memory" ;;
      *) told=$(said "$stage") ;;
    esac
    case $told in
      *[Bb]roken\ pipe*) ;;
      *) cause=${cause:-$stage: $told} ;;
    esac
  done
  for stage in $stages; do sed "s/^/$stage: /" "$work/$stage.error" | tail -n 5; done >&2
  fail "$what: ${cause:-its stages ended with$ends}"
}

# --- the manifest -----------------------------------------------------------------------------------------------------------------------------

opening() { # SYSTEM-IDENTIFIER STAMP CRONJOB: how a manifest begins
  # made by hand: kubectl create job --from=cronjob/NAME
  case $KIND/$JOB in
    "scheduled/$3"-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]) ;;
    scheduled/*) KIND=manual ;;
  esac
  printf '{"format":1,"kind":"%s","platform":"%s","server":"%s","cluster":"%s",' "$KIND" "$PLATFORM" "$SERVER" "$cluster" > "$work/manifest"
  printf '"environment":"%s","system_identifier":"%s","stamp":"%s",' "$ENVIRONMENT" "$1" "$2" >> "$work/manifest"
}

publish() { # HUNDREDTHS: when the backup began. Closes the manifest once S3 has what was sent, signs and uploads it
  local differing
  if rclone lsf --files-only --format=sp --separator=' ' "$folder/" > "$work/listed" 2> "$work/rclone.error"; then
    sort -o "$work/listed" "$work/listed"
    if ! differing=$(sort "$work/sent" | diff - "$work/listed"); then fail "S3 holds other sizes than were sent: $differing"; fi
  elif [ -n "$unseen" ]; then
    fail "these credentials may neither look at what was stored nor list it, so nobody knows that it is there; let them list: $(said rclone)"
  else
    say "what S3 holds was not compared, as it does not list: $(said rclone)"
  fi
  printf '],"finished":"%s","seconds":%s}' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(since "$1")" >> "$work/manifest"
  sign "$work/manifest" || fail 'the manifest could not be signed'
  rclone rcat "$folder/manifest" < "$work/manifest" 2> "$work/rclone.error" || fail "the manifest: $(said rclone)"
}

cluster=$(sha256sum < "$CLUSTER_CA") || fail "there is no $CLUSTER_CA to tell the cluster by"
cluster=${cluster%% *}
place=s3:$S3_BUCKET/${S3_PREFIX:+$S3_PREFIX/}$SERVER/$ENVIRONMENT

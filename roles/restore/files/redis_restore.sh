# shellcheck shell=dash
# The work of a restore of Redis inside its pod (see pod.sh), which has Redis's volume: a copy becomes an append-only file beside the one in use. Redis
# itself puts it in place when it starts (roles/redis/templates/server.yaml.j2), so that nothing is moved under a Redis that runs.
set -eu
# shellcheck source=roles/restore/files/pod.sh
. "${0%/*}/pod.sh"
data=${DATA:-/data}

fresh() { # without what restores left that did not end. A start of Redis must not find half of one; what was put back (-undone) is nobody's to remove
  local folder
  for folder in "$data"/restored-*z; do
    if [ -d "$folder" ]; then mv "$folder" "$data/restore-${folder#"$data"/restored-}" || :; fi
  done
  rm -rf "$data"/restore-*
}

contents() { # 0: the copy becomes what Redis 7 keeps an append-only file as: its beginning, what was written since, and the list of both
  local files
  redis-check-rdb "$work/$1.dump" > "$work/check" 2>&1 || problem rdb "$1" "$(grep '^\[offset' "$work/check" | tail -n 1)"
  sed -n 's/^\[info\] \([0-9]*\) \(keys\|expires\).*/\2 \1/p' "$work/check" > "$work/counts"
  note "$1" placing
  read -r files < "$work/place"
  files=$data/$files/appendonlydir
  mkdir -p "$files"
  mv "$work/$1.dump" "$files/appendonly.aof.1.base.rdb"
  : > "$files/appendonly.aof.1.incr.aof"
  printf 'file appendonly.aof.1.%s\n' 'base.rdb seq 1 type b' 'incr.aof seq 1 type i' > "$files/appendonly.aof.manifest"
  sync
}

arm() { # FROM TO: the next start of Redis takes it
  touch "$work/asked" "$data/$1"
  mv "$data/$1" "$data/$2"
  sync
}

undo() { # FROM TO: the same of what was there, and says so; nothing where no start has moved it away, and then none does so any more
  fresh
  if [ -d "$data/$1" ]; then
    arm "$1" "$2"
    echo armed
  fi
}

case $1 in
  hold) hold "$2" ;;
  state) state ;;
  put) put ;;
  get) get "$2" ;;
  fresh) fresh ;;
  fetch) start_fetch ;;
  arm) arm "$2" "$3" ;;
  undo) undo "$2" "$3" ;;
  drop) rm -rf "$data/${2:?}" ;;
  over) touch "$work/over" ;;
esac

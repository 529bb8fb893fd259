# shellcheck shell=dash
# What the pods of restores share, a command each; modules call them by kubectl exec. What takes long runs in the background and writes its state to
# $work, so that a broken connection stops nothing but the asking; and a pod that nobody asks ends by itself, with all it holds.
# The age identity comes by stdin and stays in this shell's memory: never in a file, an argument or a variable of the environment.
# For any shell: the image of Redis may have no bash. The script that reads this has the function `contents`, which looks into what was decrypted.
export PATH="/opt/tools:$PATH" LC_ALL=C
work=${WORK:-/work}

# The pod's main process: ends once it is told to, or was not asked for $1 seconds.
hold() {
  trap 'exit 0' TERM
  touch "$work/asked"
  while [ ! -e "$work/over" ] && [ $(($(date +%s) - $(stat -c %Y "$work/asked"))) -lt "$1" ]; do sleep 1; done
}

# --- what a module is told -----------------------------------------------------------------------------------------------------------------------

note() { # DATABASE'S NUMBER, what is done
  echo "$*" > "$work/step.new" && mv "$work/step.new" "$work/step"
}

problem() { # KIND DATABASE'S NUMBER, detail: what the module explains
  echo "problem $*" > "$work/problem"
  exit 1
}

first_error() { # PROGRAM'S MESSAGES
  sed -n 's/^[a-z_]*: error: //p' "$1" | head -n 1 | cut -c 1-300
}

state() {
  touch "$work/asked"
  echo "phase $(cat "$work/phase" 2> /dev/null || echo none) $(cat "$work/ended" 2> /dev/null || echo running)"
  # any of these may go, or not be there yet, while they are looked for
  local index='' found
  if found=$(cat "$work/step" 2> /dev/null); then
    echo "step $found"
    index=${found%% *}
  fi
  if found=$(stat -c %s "$work/$index.age" 2> /dev/null); then echo "fetched $found"; fi
  if found=$(stat -c %s "$work/$index.dump" 2> /dev/null); then echo "dumped $found"; fi
  if [ -e "$work/$index.log" ]; then echo "tables $(cat "$work/$index.log" 2> /dev/null | grep -c 'finished item [0-9]* TABLE DATA')"; fi
  cat "$work/problem" 2> /dev/null || :
}

in_background() { # PHASE COMMAND...
  rm -f "$work/ended" "$work/problem" "$work/step"
  echo "$1" > "$work/phase"
  (
    set -e # the caller's may be off
    trap 'echo $? > "$work/ended"' EXIT
    shift
    "$@"
  ) > "$work/$1.out" 2>&1 < /dev/null &
}

# --- the backup --------------------------------------------------------------------------------------------------------------------------------

# stdin: rclone's configuration, a line with a dot, and the age identity. $work/objects has a line for each database: BYTES SHA256 PATH
start_fetch() {
  read_secrets
  in_background fetch fetch
}

read_secrets() {
  local line end='
'
  config='' identity=''
  while IFS= read -r line && [ "$line" != . ]; do config=$config$line$end; done
  while IFS= read -r line && [ "$line" != . ]; do identity=$identity$line$end; done
}

fetch() {
  local index=0 bytes sha256 object
  while read -r bytes sha256 object; do
    fetch_one "$index" "$bytes" "$sha256" "$object"
    index=$((index + 1))
  done < "$work/objects"
}

fetch_one() {
  local encrypted="$work/$1.age" dump="$work/$1.dump" size
  note "$1" fetching
  printf %s "$config" | rclone copyto --config /dev/stdin --ca-cert "$work/authorities" --inplace --ignore-checksum --multi-thread-streams 0 \
    --contimeout 10s --timeout 60s --retries 3 --low-level-retries 3 "s3:$4" "$encrypted" 2> "$work/rclone" ||
    problem unread "$1" "$(sed 's|^[0-9/]* [0-9:]* [A-Z]* *: *||' "$work/rclone" | tail -n 1 | cut -c 1-300)"
  note "$1" checking
  size=$(stat -c %s "$encrypted")
  if [ "$size" != "$2" ]; then problem size "$1" "$size"; fi
  if [ "$(sha256sum < "$encrypted" | cut -d ' ' -f 1)" != "$3" ]; then problem digest "$1"; fi
  note "$1" decrypting
  printf %s "$identity" | age --decrypt --identity - --output "$dump" "$encrypted" 2> "$work/age" || problem sealed "$1" "$(first_error "$work/age")"
  rm "$encrypted"
  contents "$1"
}

# --- its files --------------------------------------------------------------------------------------------------------------------------------

put() { # stdin: files, each as a line NAME LINES and so many lines
  local name lines line
  while read -r name lines; do
    while [ "$lines" -gt 0 ] && IFS= read -r line; do
      printf '%s\n' "$line"
      lines=$((lines - 1))
    done > "$work/$name"
  done
}

get() { # FILE...: in the same form
  local name
  for name in "$@"; do
    echo "$name $(wc -l < "$work/$name")"
    cat "$work/$name"
  done
}

# shellcheck shell=dash
# A backup's manifest, as plugins/module_utils/backup/manifest.py reads it: a line of JSON, and its HMAC-SHA256 (RFC 2104) keyed with BACKUP_KEY.
# In the shell, as any program that does it would show the key on its command line; in any shell, as not every image has bash.

sign() { # FILE: appends the second line
  local hex='' inner='' outer='' rest="$BACKUP_KEY" index=0 byte digest
  if [ ${#BACKUP_KEY} -gt 64 ]; then # longer than a block of SHA-256: its digest stands for it
    hex=$(printf %s "$BACKUP_KEY" | sha256sum) hex=${hex%% *}
  else
    while [ -n "$rest" ]; do hex=$hex$(printf %02x "'$rest") rest=${rest#?}; done
  fi
  while [ "$index" -lt 64 ]; do
    byte=${hex%"${hex#??}"} hex=${hex#??} index=$((index + 1))
    byte=$((0x0$byte))
    inner=$inner$(printf '\\0%03o' $((byte ^ 0x36)))
    outer=$outer$(printf '\\0%03o' $((byte ^ 0x5c)))
  done
  digest=$({ printf %b "$inner" && cat "$1"; } | sha256sum) || return
  digest=${digest%% *}
  while [ -n "$digest" ]; do
    byte=${digest%"${digest#??}"} digest=${digest#??}
    outer=$outer$(printf '\\0%03o' $((0x$byte)))
  done
  digest=$(printf %b "$outer" | sha256sum) || return
  printf '\n%s\n' "${digest%% *}" >> "$1"
}

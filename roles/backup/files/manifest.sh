# shellcheck shell=bash
# A backup's manifest, as plugins/module_utils/backup/manifest.py reads it: a line of JSON, and its HMAC-SHA256 (RFC 2104) keyed with BACKUP_KEY.
# In bash, as any program that does it would show the key on its command line.

sign() { # FILE: appends the second line
  local hex='' inner='' outer='' index byte digest
  if [ ${#BACKUP_KEY} -gt 64 ]; then # longer than a block of SHA-256: its digest stands for it
    hex=$(printf %s "$BACKUP_KEY" | sha256sum) hex=${hex%% *}
  else
    for ((index = 0; index < ${#BACKUP_KEY}; index++)); do printf -v hex '%s%02x' "$hex" "'${BACKUP_KEY:index:1}"; done
  fi
  for ((index = 0; index < 128; index += 2)); do
    byte=$((16#0${hex:index:2}))
    printf -v inner '%s\\x%02x' "$inner" $((byte ^ 0x36))
    printf -v outer '%s\\x%02x' "$outer" $((byte ^ 0x5c))
  done
  digest=$({ printf %b "$inner" && cat "$1"; } | sha256sum) || return
  for ((index = 0; index < 64; index += 2)); do outer+="\\x${digest:index:2}"; done
  digest=$(printf %b "$outer" | sha256sum) || return
  printf '\n%s\n' "${digest%% *}" >> "$1"
}

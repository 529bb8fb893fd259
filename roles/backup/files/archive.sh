# shellcheck shell=bash
# What the scripts of the archive begin with: where it is, how an object of it is made, and how its sender is proved.
export PATH=/opt/tools:$PATH LC_ALL=C
export PGAPPNAME=wal_archive PGCONNECT_TIMEOUT=10 PGOPTIONS='-c statement_timeout=15s'
# S3 that does not answer is a failure within a minute; what there is may be neither read nor listed object by object.
export RCLONE_CONTIMEOUT=10s RCLONE_TIMEOUT=30s RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=2 RCLONE_S3_NO_HEAD=true RCLONE_S3_NO_HEAD_OBJECT=true RCLONE_NO_CHECK_DEST=true
export RCLONE_BUFFER_SIZE=0 RCLONE_TRANSFERS=1 GOMEMLIMIT=32MiB GOGC=50 # little memory

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

sql() { psql --no-psqlrc --no-align --tuples-only --quiet --field-separator=' ' --set=ON_ERROR_STOP=1 "$@"; }

# Where this Postgres's archive is: below the bucket, and in what is signed.
archive_of() { # SYSTEM_IDENTIFIER
  origin=$SERVER/$ENVIRONMENT/$1
  folder=s3:$S3_BUCKET/${S3_PREFIX:+$S3_PREFIX/}$origin
}

# zstd where the image has it: it is several times as fast.
if command -v zstd > /dev/null; then
  compress() { zstd --quiet -3 --stdout; }
else
  compress() { gzip -1 --stdout; }
fi

expand() { # either, by its first bytes
  local first
  first=$(dd bs=1 count=4 status=none | od -An -tx1 | tr -d ' \n')
  { printf '%b' "$(escaped "$first")" && cat; } | if [ "$first" = 28b52ffd ]; then zstd --quiet --decompress --stdout; else gzip --decompress --stdout; fi
}

encrypt() {
  local recipient arguments=()
  for recipient in $AGE_RECIPIENTS; do arguments+=(--recipient "$recipient"); done
  age --encrypt "${arguments[@]}"
}

# HMAC-SHA256 (RFC 2104) of stdin in hexadecimal, keyed with BACKUP_KEY. In bash, as any program would show the key on its command line.
hmac() {
  { printf '%b' "$inner_pad" && cat; } | sha256sum | {
    read -r digest _
    { printf '%b' "$outer_pad" && printf '%b' "$(escaped "$digest")"; } | sha256sum | cut -d ' ' -f 1
  }
}

escaped() { # hexadecimal digits as printf's escapes
  local index
  for ((index = 0; index < ${#1}; index += 2)); do printf '\\x%s' "${1:index:2}"; done
}

make_pads() {
  local index byte key=$BACKUP_KEY
  if [ ${#key} -gt 64 ]; then
    echo 'BACKUP_KEY has more than 64 characters' >&2
    return 1
  fi
  inner_pad='' outer_pad=''
  for ((index = 0; index < 64; index++)); do
    byte=0
    if [ "$index" -lt ${#key} ]; then printf -v byte %d "'${key:index:1}"; fi
    printf -v inner_pad '%s\\x%02x' "$inner_pad" $((byte ^ 0x36))
    printf -v outer_pad '%s\\x%02x' "$outer_pad" $((byte ^ 0x5c))
  done
}
make_pads

#!/bin/bash
# Fetches one backup, opens it, and puts it into its database in one transaction: all of it, or nothing.
set -euo pipefail
folder="s3:$S3_BUCKET/$S3_PREFIX/$ENVIRONMENT/$PGDATABASE"
if [ "$BACKUP" = latest ]; then
  manifest=$(rclone lsf --include '*.json' "$folder" | sort | tail -n 1)
else
  manifest=$BACKUP.json
fi
if [ -z "$manifest" ] || ! rclone cat "$folder/$manifest" > /tmp/manifest.json || [ ! -s /tmp/manifest.json ]; then
  echo "no backup '$BACKUP' in $folder; there are:" >&2
  rclone lsf --include '*.json' "$folder" | sort >&2
  exit 1
fi
echo "restoring ${manifest%.json} into $PGDATABASE of $PGHOST"
# age authenticates what it decrypts: a cut or changed file ends the pipe with an error, and the transaction with it.
rclone cat "$folder/${manifest%.json}.dump.age" |
  age --decrypt --identity /identity/IDENTITY |
  pg_restore --clean --if-exists --no-owner --exit-on-error --file=- |
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --single-transaction --output=/dev/null
echo "restored ${manifest%.json}"

# shellcheck shell=bash
# Fetches one backup, opens it, and puts it into its database in one transaction: all of it, or nothing.
set -euo pipefail
# shellcheck source=roles/platform/files/dumps.sh
. /scripts/dumps.sh
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
await_database
echo "restoring ${manifest%.json} into $PGDATABASE of $PGHOST"
# age authenticates what it decrypts: a cut or changed file ends the pipe early, pg_restore sees it, and the transaction is rolled back.
rclone cat "$folder/${manifest%.json}.dump.age" |
  age --decrypt --identity /identity/IDENTITY |
  pg_restore --clean --if-exists --no-owner --exit-on-error --single-transaction --dbname "$PGDATABASE"
echo "restored ${manifest%.json}"

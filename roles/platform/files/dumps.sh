# shellcheck shell=bash
# What the scripts of backup and restore begin with: the tools, where this environment's dumps are, and a database that answers.
PATH=/opt/tools:$PATH
folder="s3:$S3_BUCKET/$S3_PREFIX/$ENVIRONMENT/$PGDATABASE"

await_database() { # the address of a new pod takes a moment to get into the network policies
  until pg_isready --quiet --timeout=5 || [ "$SECONDS" -ge 60 ]; do sleep 1; done
}

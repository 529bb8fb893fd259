#!/bin/sh
# Builds the lab's k3s: first the compressed runtime that it embeds, then the binary.
# Usage: build.sh RUNTIME-BIN-DIRECTORY OUTPUT        (the directory is what ../runtime/build.sh made; runc is the build machine's)
# GOFLAGS=-p=1 instead of the -p=2 below bounds the memory further, for nearly twice the time.
set -eu
runtime=$(cd "$1" && pwd)
output=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")"
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' go.mod)+k3s1

runc=$(PATH=$PATH:/usr/sbin; command -v runc) || { echo 'build.sh: runc is missing: apt-get install runc' >&2; exit 1; }
rm -rf bin
mkdir bin
for file in "$runtime"/* "$runc"; do
  zstd -q -9 -T2 "$file" -o "bin/$(basename "$file").zst"
done

export CGO_ENABLED=1 GOFLAGS="${GOFLAGS:--p=2}"
package=k8s.io/component-base/version
name=$(cat bin/* | sha256sum | cut -c -16)
go build -trimpath -tags providerless,netgo,osusergo -o "$output" \
  -ldflags "-s -w -X main.binariesName=$name -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=36" .

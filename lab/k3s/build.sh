#!/bin/sh
# Builds the lab's k3s: first the compressed runtime that it embeds, then the binary.
# Usage: build.sh RUNTIME-BIN-DIRECTORY OUTPUT
# The directory is what ../runtime/build.sh made; runc is the build machine's, and so are iptables and nft, which real K3s brings as well (bin/aux).
# GOFLAGS=-p=1 instead of the -p=2 below bounds the memory further, for nearly twice the time.
set -eu
runtime=$(cd "$1" && pwd)
output=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")"
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' go.mod)+k3s1

runc=$(PATH=$PATH:/usr/sbin; command -v runc) || { echo 'build.sh: runc is missing: apt-get install runc' >&2; exit 1; }
rm -rf bin
mkdir bin
aux=$(mktemp -d)
trap 'rm -rf "$aux"' EXIT

# A program of this machine runs on any server with the loader and the libraries that it has here; what is started is a script with its name.
wrap() {
  program=$1
  shift
  cp -L "$program" "$aux/$(basename "$program").bin"
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do cp -L "$library" "$aux/"; done
  for name in "$@"; do
    cat >"$aux/$name" <<SCRIPT
#!/bin/sh
bin=\${0%/*}
XTABLES_LIBDIR=\$bin exec "\$bin/ld-linux-x86-64.so.2" --library-path "\$bin" --argv0 $name "\$bin/$(basename "$program").bin" "\$@"
SCRIPT
  done
}
for package in iptables nftables; do
  dpkg-query --status "$package" >/dev/null || { echo "build.sh: apt-get install $package" >&2; exit 1; }
done
wrap /usr/sbin/xtables-nft-multi iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore
wrap /usr/sbin/nft nft
find /usr/lib/x86_64-linux-gnu/xtables -name 'lib*t_*.so' -exec cp -L {} "$aux/" \;

chmod 0755 "$aux"/*

for file in "$runtime"/* "$runc"; do
  zstd -q -9 -T2 "$file" -o "bin/$(basename "$file").zst"
done
tar -C "$aux" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - . | zstd -q -9 -T2 -o bin/filters.tar.zst

export CGO_ENABLED=1 GOFLAGS="${GOFLAGS:--p=2}"
package=k8s.io/component-base/version
name=$(cat bin/* | sha256sum | cut -c -16)
go build -trimpath -tags providerless,netgo,osusergo -o "$output" \
  -ldflags "-s -w -X main.binariesName=$name -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=36" .

#!/bin/bash
# Runs ansible-test's sanity tests on a checkout that lies where ansible-test wants it: .../ansible_collections/shaka/platform.
# It tests what is committed or staged, as the built collection would hold it.
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
place=$tree/ansible_collections/shaka/platform
mkdir -p "$place"
git ls-files --cached --others --exclude-standard -- . ':!.ansible' ':!.ci' ':!.config' ':!lab' ':!molecule' ':!benchmarks' ':!tests/contract' ':!tests/integration' ':!tests/prove' ':!tests/sanity.sh' | while read -r file; do
  if [ -e "$file" ]; then echo "$file"; fi
done | tar -cf - -T - | tar -C "$place" -xf -

# ansible-test fetches pip's installer for its own environments; this gives it one that takes the same pip from the package index.
seed=${HOME:?}/.ansible/test/cache
mkdir -p "$seed"
for pip in 24.2 25.2; do # of ansible-core 2.19; of 2.20 and 2.21
  [ -e "$seed/get_pip_${pip/./_}.py" ] || cat > "$seed/get_pip_${pip/./_}.py" <<PYTHON
import subprocess, sys, venv, tempfile, pathlib
place = pathlib.Path(tempfile.mkdtemp())
venv.create(place, with_pip=True)
subprocess.run([place / "bin/pip", "install", "-q", "--target", sys.prefix + f"/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages", "pip==$pip"], check=True)
PYTHON
done
cd "$place"
git init -q . # ansible-test lists files with git
git add -A .
ansible-test sanity --local --color no --python "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"

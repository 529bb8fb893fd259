"""The demo's versions by their digests, as a registry would name them; here they come out of the bundle, whose images have tags alone."""

from __future__ import annotations

from collections.abc import Callable

SCRIPT = r"""
k3s ctr images ls | awk '$1 ~ /^lab.local\/api:/ {print $1, $3}' | while read -r name digest; do
  k3s ctr images tag --force "$name" "lab.local/api@$digest" > /dev/null && echo "$name $digest"
done
"""


def tag(run: Callable[[str], str]) -> dict[str, str]:
    """Version -> reference by digest.

    :arg run: runs a command on the server, and returns what it prints.
    """
    lines = [line.split() for line in run(SCRIPT).splitlines()]
    return {name.rsplit(":", 1)[1]: f"lab.local/api@{digest}" for name, digest in lines}

# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The commands that ssh is called with. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from .inventory import KnownServer


def ssh(server: KnownServer, remote: Sequence[str], terminal: bool = False, options: Sequence[str] = ()) -> list[str]:
    """ssh to a server, as the inventory says; the remote command arrives there word for word, whatever shell the account has.

    :arg options: of ssh, which count before the inventory's.
    """
    command = ["ssh", "-t"] if terminal else ["ssh"]
    command += options
    command += ["-p", server.port] if server.port else []
    command += ["-l", server.user] if server.user else []
    command += ["-i", server.key] if server.key else []
    return [*command, *server.options, "--", server.address, shlex.join(remote)]


def kubectl(server: KnownServer, *arguments: str, reads: bool = False) -> list[str]:
    """kubectl on the server. Root has the cluster's own kubeconfig; the operator's account may read (or more) by its own; anybody else needs sudo.

    :arg reads: whether the rights of Kubernetes' ClusterRole `view` are enough.
    """
    own = server.user == "root" or (bool(server.user) and server.user == server.operator and (reads or server.admin))
    return [*(() if own else ("sudo",)), "kubectl", *arguments]

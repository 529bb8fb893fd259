#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_preflight
short_description: Look at a server before the role host changes anything
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Finds out in one call which packages are installed, which other packet filters would drop the platform's traffic, which open ports the
    platform's packet filter would close, and whether the user of this connection could still log in when only keys are accepted.
  - A connection that arrives by a tunnel which ends on the server is refused when the packet filter would close the port that the tunnel may run on.
    Its present flow would outlive the change, but the next handshake would not get in.
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: none, description: It changes nothing.}
options:
  packages: {description: Packages to look for., type: list, elements: str, default: []}
  firewall: {description: Whether to look for other packet filters and at open ports., type: bool, default: true}
  tcp_ports: {description: TCP ports that the packet filter leaves open., type: list, elements: int, default: []}
  udp_ports: {description: UDP ports that it leaves open., type: list, elements: int, default: []}
  may_close_tunnel: {description: Whether it may close the ports that this connection's tunnel may run on., type: bool, default: false}
  sshd: {description: Whether to look for the user's keys., type: bool, default: true}
  time_zone:
    description: The time zone that the server is to have; one that it does not know is a problem. Empty for none.
    type: str
    default: ""
  blocked_modules:
    description: Kernel modules that will never be loaded; one without which a file system of the fstab would not be mounted is a problem.
    type: list
    elements: str
    default: []
  operator:
    description: Name of the account that C(operator_is_ready) speaks of; empty for none.
    type: str
    default: ""
  operator_keys: {description: The public keys that it is to have., type: list, elements: str, default: []}
  operators:
    description: The accounts of the inventory, some of them empty; others that the platform once gave access are in C(former_operators).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the server
  shaka.platform.host_preflight:
    packages: [nftables, chrony]
"""

RETURN = r"""
closes:
  description: Programs and ports that the packet filter will close; empty where it is there already.
  returned: success
  type: list
  elements: str
ssh_algorithms:
  description: The algorithms that the server's OpenSSH knows, by their name for C(ssh -Q).
  returned: success
  type: dict
installed:
  description: Those of the packages that are installed.
  returned: success
  type: list
  elements: str
former_operators:
  description: Accounts that the platform gave access and that are no longer in O(operators), until it is taken away.
  returned: success
  type: list
  elements: str
former_sudo:
  description: Whether an operator's rule in C(/etc/sudoers.d) is there, and no O(operator).
  returned: success
  type: bool
operator_is_ready:
  description: Whether the account of O(operator) is there with its own home, C(/bin/bash), no password and no end.
  returned: success
  type: bool
user:
  description: The user of the connection.
  returned: success
  type: str
problems:
  description: What has to change first, and how.
  returned: success
  type: list
  elements: str
"""

import json
import os
import pwd
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of, user_of_connection
from ansible_collections.shaka.platform.plugins.module_utils.server import former, ledger
from ansible_collections.shaka.platform.plugins.module_utils.server.access import TABLE, may_log_in
from ansible_collections.shaka.platform.plugins.module_utils.server.accounts import entries_of, key_lines
from ansible_collections.shaka.platform.plugins.module_utils.server.home import with_rights_of_its_home
from ansible_collections.shaka.platform.plugins.module_utils.server.listeners import (
    PORTLESS,
    Listener,
    Tunnel,
    carriers,
    closed_by,
    listening,
    server_address,
    tunnel,
)
from ansible_collections.shaka.platform.plugins.module_utils.server.traces import mounted
from ansible_collections.shaka.platform.plugins.module_utils.server.whole import text_of


def installed(packages: list[str], execute: Execute) -> list[str]:
    """The installed ones of these packages. dpkg-query exits 1 when it does not know one, which is not a failure here."""
    if not packages:
        return []
    _code, out, _err = execute(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages])
    present = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package in present]


def ssh_algorithms(execute: Execute) -> dict[str, list[str]]:
    """What this OpenSSH knows; its server refuses to start with a name that it does not know."""
    return {kind: execute(["ssh", "-Q", kind])[1].split() for kind in ("cipher", "kex", "mac", "HostKeyAlgorithms")}


HOOKS = ("ingress", "prerouting", "input", "forward", "output", "postrouting")
# A match of iptables that always fits, as nft lists it
COMMENT = {"xt": {"type": "match", "name": "comment"}}
INTERFACES = ("iif", "iifname", "oif", "oifname")
# What nft compares -> values that a rule for all new connections has
ALL_OF = {("ct", "state"): ("new",), ("meta", "l4proto"): ("tcp", 6), ("meta", "nfproto"): ("ipv4",)}
REFUSALS = ({"drop": None}, {"xt": {"type": "target", "name": "REJECT"}})


def outer_interfaces(root: Path) -> list[str]:
    """Those with a default route, by which people come."""
    table = root / "proc/net/route"
    rows = [line.split() for line in table.read_text(encoding="utf-8").splitlines()[1:]] if table.exists() else []
    return [row[0] for row in rows if row[1] == row[7] == "00000000"]


def blocking_chains(entries: list[dict[str, Any]], outer: Collection[str] = ()) -> list[str]:
    """'table ip filter, chain FORWARD (forward)' for each base chain of others that drops or rejects what no rule of it takes.

    By its policy or by its last rule; from the entries of `nft --json list ruleset`.

    :arg outer: interfaces for which alone such a rule is in the way, too.
    """
    chains: dict[tuple[str, str, str], dict[str, Any]] = {}
    rules: dict[tuple[str, str, str], list[Any]] = {}
    for entry in entries:
        if chain := entry.get("chain"):
            chains[(chain["family"], chain["table"], chain["name"])] = chain
        elif rule := entry.get("rule"):
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule["expr"])

    def refuses(key: tuple[str, str, str]) -> bool:
        """Whether a packet that fits no conditional rule of the chain is refused there."""
        for expression in rules.get(key, []):
            parts = [part for part in expression if part != COMMENT and not {"counter", "log"} & set(part)]
            done = [part for part in parts if not _fits_all_from(part, outer)]
            if len(done) != 1:
                continue
            target = (done[0].get("jump") or done[0].get("goto") or {}).get("target")
            if _refusal(done[0]) or (target and refuses((*key[:2], target))):
                return True
            if len(parts) == 1 and {"accept", "goto", "return"} & set(done[0]):
                return False
        return False

    return [
        f"table {family} {table}, chain {name} ({chain['hook']})"
        for (family, table, name), chain in chains.items()
        if f"{family} {table}" != TABLE and chain.get("hook") in HOOKS and (chain.get("policy") == "drop" or refuses((family, table, name)))
    ]


def _refusal(part: Mapping[str, Any]) -> bool:
    return part in REFUSALS or "reject" in part


def _fits_all_from(part: Mapping[str, Any], outer: Collection[str]) -> bool:
    """Whether a match takes each new TCP connection that comes or goes by one of these interfaces, as nft lists it."""
    match = part.get("match") or {}
    left, right = match.get("left"), match.get("right")
    fields = [(kind, left[kind].get("key")) for kind in ("meta", "ct") if kind in left] if isinstance(left, dict) else []
    wanted = ALL_OF.get(fields[0], outer if fields[0][1] in INTERFACES else ()) if fields else ()
    values = right["set"] if isinstance(right, dict) and "set" in right else right if isinstance(right, list) else [right]
    among = any(fnmatchcase(str(each), str(value)) for each in wanted for value in values)
    return bool(wanted) and (not among if match["op"] == "!=" else among)


def from_iptables(saved: str, family: str) -> list[dict[str, Any]]:
    """The table filter in what iptables-save prints, as entries of nft. A server that has iptables need not have nft."""
    entries: list[dict[str, Any]] = []
    verdicts = {"ACCEPT": {"accept": None}, "DROP": {"drop": None}, "REJECT": {"reject": None}, "RETURN": {"return": None}}
    table = ""
    for line in saved.splitlines():
        words = [] if line.startswith("#") else shlex.split(line)
        if line.startswith("*"):
            table = line[1:]
        elif table == "filter" and line.startswith(":"):
            own = {} if words[1] == "-" else {"hook": words[0][1:].lower(), "policy": words[1].lower()}
            entries.append({"chain": {"family": family, "table": table, "name": words[0][1:], **own}})
        elif table == "filter" and words[:1] == ["-A"]:
            options = {words[place]: words[place + 1] for place in range(len(words) - 1) if words[place].startswith("-")}
            target = options.pop("-j", None) or options.pop("-g", "LOG")
            always = ("-A", "--comment", "--reject-with")
            options = {name: value for name, value in options.items() if name not in always and (name, value) != ("-m", "comment")}
            verdict = verdicts.get(target, {"log": None} if target == "LOG" else {"jump": {"target": target}})
            modules = {words[place + 1] for place in range(len(words)) if words[place] == "-m"}
            matches = _known(words) if set(options) <= {*KNOWN, "-m"} and modules <= MODULES else [{"match": options}]
            expression = [*matches, verdict]
            entries.append({"rule": {"family": family, "table": table, "chain": words[1], "expr": expression}})
    return entries


# Options of iptables -> what nft compares
KNOWN = {"-i": ("meta", "iifname"), "-o": ("meta", "oifname"), "-p": ("meta", "l4proto"), "--ctstate": ("ct", "state"), "--state": ("ct", "state")}

MODULES = {"tcp", "udp", "conntrack", "state", "comment"}  # they add no condition of their own


def _known(words: list[str]) -> list[dict[str, Any]]:
    """Interfaces, protocol and states that a rule is bound to, as nft lists them."""
    matches = []
    for before, option, value in zip(words, words[1:], words[2:], strict=False):
        if option in KNOWN:
            kind, key = KNOWN[option]
            right = value.lower().split(",") if kind == "ct" else [re.sub(r"\+$", "*", value)]
            matches.append({"match": {"op": "!=" if before == "!" else "==", "left": {kind: {"key": key}}, "right": right}})
    return matches


def rules_of_others(root: Path, execute: Execute) -> list[dict[str, Any]]:
    """The entries of the running packet filter, by the program that the server has. nft does not see what iptables-legacy has loaded."""
    entries: list[dict[str, Any]] = []
    there = (root / "usr/sbin/nft").exists()
    if there:
        code, out, _err = execute(["nft", "--json", "list", "ruleset"])
        entries += json.loads(out)["nftables"] if code == 0 else []
    for family, program, tables in (("ip", "iptables", "ip_tables_names"), ("ip6", "ip6tables", "ip6_tables_names")):
        loaded = root / "proc/net" / tables
        legacy = loaded.exists() and "filter" in loaded.read_text(encoding="ascii").split()  # else asking would load the old modules
        for save in [*([] if there else [f"{program}-save"]), *([f"{program}-legacy-save"] if legacy else [])]:
            code, out, _err = execute([save]) if (root / "usr/sbin" / save).exists() else (1, "", "")
            entries += from_iptables(out, f"legacy {family}" if "legacy" in save else family) if code == 0 else []
    return entries


def other_filters(root: Path, execute: Execute) -> Iterator[str]:
    """Packet filters that would interfere with the platform's."""
    ufw = root / "etc/ufw/ufw.conf"
    if ufw.exists() and re.search(r"^ENABLED=[\"']?yes", ufw.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        yield "ufw is enabled and drops pods' traffic; run 'ufw disable' on the server, or set host_manage_firewall to false and open them in ufw"
    code, _out, _err = execute(["systemctl", "is-active", "--quiet", "firewalld.service"])
    if code == 0:
        yield "firewalld is active and drops pods' traffic; run 'systemctl disable --now firewalld', or set host_manage_firewall to false"
    for chain in blocking_chains(rules_of_others(root, execute), outer_interfaces(root)):
        yield (
            f"another packet filter drops by default: {chain}; give that chain the policy accept and no last rule that drops or rejects the rest, "
            "or remove what loads it (Docker, /etc/nftables.conf, iptables-persistent), or set host_manage_firewall to false"
        )


def closes(params: dict[str, Any], process: int, execute: Execute, root: Path) -> tuple[list[str], Iterator[str]]:
    """What the packet filter will close when it comes for the first time, and why it must not."""
    there = (root / "usr/sbin/nft").exists() and execute(["nft", "list", "table", *TABLE.split()])[0] == 0
    closed = closed_by(listening(execute(["ss", "-Hlntup"])[1]), params["tcp_ports"], params["udp_ports"])
    through = tunnel(server_address(process), execute) if (closed or not there) and not params["may_close_tunnel"] else None
    return [] if there else [str(each) for each in closed], _endangered(through, closed, there) if through else iter(())


def _endangered(through: Tunnel, closed: list[Listener], filtered: bool) -> Iterator[str]:
    if through.kind in PORTLESS and not filtered:  # what arrives through the running filter is not closed by it
        yield (
            f"this connection arrives by the tunnel {through.name} ({through.kind}), whose packets have no port, and the filter would close their "
            "protocol: connect to the server's own address (ansible_host), or set host_manage_firewall to false; or "
            "host_firewall_may_close_tunnel to true when they come over a UDP port that stays open"
        )
    for carrier in carriers(through, closed):
        yield (
            f"this connection arrives by the tunnel {through.name} ({through.kind}), which may run on {carrier}, and the filter would close that: "
            f"add {carrier.port} to host_firewall_{carrier.protocol}_ports, or set host_firewall_may_close_tunnel to true when it needs no open port"
        )


def is_ready(operator: str, root: Path) -> bool:
    """Whether an account is as role host makes it: its own home, bash, a password that nobody can type, and no day on which it expires."""
    home, hidden = f"/home/{operator}", [(entry[1], *entry[7:8]) for entry in entries_of(operator, "shadow", root)] == [("*", "")]
    return hidden and [entry[5:7] for entry in entries_of(operator, "passwd", root)] == [[home, "/bin/bash"]] and (root / home[1:]).is_dir()


def loses_as_operator(user: str, keys: Collection[str], root: Path) -> bool:
    """Whether an account that is made the operator's has a password, or keys beside these, which it then has no more."""
    file = root / "home" / user / former.GIVEN[0]
    present = with_rights_of_its_home(file, lambda: file.read_text(encoding="utf-8", errors="replace") if file.exists() else "")
    password = any(entry[1][:1] not in ("!", "*") for entry in entries_of(user, "shadow", root))
    return password or not {tuple(line.split()[:2]) for line in key_lines(present)} <= {tuple(key.split()[:2]) for key in keys}


def unknown_zone(name: str, root: Path) -> Iterator[str]:
    """A zone without a file would silently mean UTC. Debian 13 and Ubuntu 24.04 moved old names into a package of their own."""
    zones = root / "usr/share/zoneinfo"
    if name and zones.is_dir() and not (zones / name).is_file():
        yield (
            f"host_time_zone: '{name}' is not a time zone of this server; use a name that `timedatectl list-timezones` shows there, "
            "such as America/Sao_Paulo, or install tzdata-legacy for an old name"
        )


def needed_at_boot(blocked: Collection[str], root: Path) -> Iterator[str]:
    """Modules of file systems that fstab mounts at boot, such as that of /boot/efi: without one the server would stop there, and answer nobody."""
    fstab = root / "etc/fstab"
    for point, kind, options in mounted(text_of(fstab)) if fstab.exists() else ():
        if not {"noauto", "nofail"} & {*options}:
            for module in sorted({kind, *(["fat"] if kind == "vfat" else [])} & {*blocked}):
                yield f"host_blocked_modules: '{module}' is what {point} is mounted with at boot (/etc/fstab), which would end there; leave it out"


def run(params: dict[str, Any], user: str, home: Path, execute: Execute, root: Path = Path("/")) -> dict[str, Any]:
    """The result of the module."""
    problems = list(other_filters(root, execute)) if params["firewall"] else []
    closed, refused = closes(params, os.getpid(), execute, root) if params["firewall"] else ([], iter(()))
    problems += refused
    problems += unknown_zone(params["time_zone"], root)
    problems += needed_at_boot(params["blocked_modules"], root)
    if params["sshd"] and (root / "usr/sbin/sshd").exists() and not may_log_in(user, home, execute):
        problems.append(
            f"SSH by key only would lock out {user}, who has no key on the server; "
            f"put one into {home}/.ssh/authorized_keys (ssh-copy-id), or set host_manage_sshd to false"
        )
    recorded = ledger.load(root / str(ledger.LEDGER)[1:])
    made = f"/home/{user}/{former.GIVEN[0]}" in recorded
    if user == params["operator"] and not made and loses_as_operator(user, params["operator_keys"], root):
        problems.append(
            f"host_operator_name: '{user}' is the account that Ansible connects as, and would lose its password, or keys that "
            "host_operator_authorized_keys does not have; connect as another one for this run, or name another operator"
        )
    gone = former.former_operators(params["operators"], recorded)
    if user in gone:
        problems.append(
            f"host_operator_name: '{user}' has left it, and Ansible connects as that account, which would lose its access; connect as another one"
        )
    return {
        "changed": False,
        "former_operators": gone,
        "former_sudo": not params["operator"] and (root / former.SUDOERS).exists(),
        "closes": closed,
        "ssh_algorithms": ssh_algorithms(execute) if params["sshd"] and (root / "usr/bin/ssh").exists() else {},
        "installed": installed(params["packages"], execute),
        "operator_is_ready": bool(params["operator"]) and is_ready(params["operator"], root),
        "user": user,
        "problems": problems,
    }


def main() -> None:
    spec = {
        "packages": {"type": "list", "elements": "str", "default": []},
        "firewall": {"type": "bool", "default": True},
        "tcp_ports": {"type": "list", "elements": "int", "default": []},
        "udp_ports": {"type": "list", "elements": "int", "default": []},
        "may_close_tunnel": {"type": "bool", "default": False},
        "sshd": {"type": "bool", "default": True},
        "time_zone": {"type": "str", "default": ""},
        "blocked_modules": {"type": "list", "elements": "str", "default": []},
        "operator": {"type": "str", "default": ""},
        "operator_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "operators": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    user = user_of_connection()
    module.exit_json(**run(module.params, user, Path(pwd.getpwnam(user).pw_dir), commands_of(module)))


if __name__ == "__main__":
    main()

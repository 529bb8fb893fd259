# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory, as far as the everyday commands need it: servers and how they are reached, environments and their applications.

It is read by ansible-inventory, from a copy of links that leaves out what holds secrets: no vault password is needed, and no secret is read.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .mistakes import Mistake

GROUP = "k3s_servers"
ENCRYPTED = b"$ANSIBLE_VAULT;"
SECRET = re.compile(r"secrets\.(sops\.)?(ya?ml|json)|.*\.sops\.(ya?ml|json)")
# What Ansible calls the same thing, the first that is set counts.
CONNECTION = {
    "address": ("ansible_host", "ansible_ssh_host"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    "args": ("ansible_ssh_args",),
    "common": ("ansible_ssh_common_args",),
    "extra": ("ansible_ssh_extra_args",),
}
# Where Ansible's own configuration says it, for a server whose inventory does not: section and key, and the variable that counts before them.
SETTINGS = {
    "user": ("defaults", "remote_user", "ANSIBLE_REMOTE_USER"),
    "port": ("defaults", "remote_port", "ANSIBLE_REMOTE_PORT"),
    "key": ("defaults", "private_key_file", "ANSIBLE_PRIVATE_KEY_FILE"),
    "args": ("ssh_connection", "ssh_args", "ANSIBLE_SSH_ARGS"),
    "common": ("ssh_connection", "ssh_common_args", "ANSIBLE_SSH_COMMON_ARGS"),
    "extra": ("ssh_connection", "ssh_extra_args", "ANSIBLE_SSH_EXTRA_ARGS"),
}


@dataclass(frozen=True)
class KnownEnvironment:
    """An environment, or a preview of one: where its objects are, and who its data belongs to. `hosts`: the names that its applications answer to.

    `of`: the environment whose Postgres a preview is in, `postgres_namespace`: where that runs, `expires`: when the preview is over.
    `jobs`: the applications that run by the clock, and have no pod in between.
    """

    name: str
    namespace: str
    database: str
    owner: str
    redis_database: int
    redis_prefix: str
    redis_user: str
    redis_namespace: str
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    of: str = ""
    postgres_namespace: str = ""
    expires: str = ""
    jobs: Sequence[str] = ()

    @property
    def apps(self) -> list[str]:
        return list(self.hosts)


@dataclass(frozen=True)
class KnownServer:
    """A server, and how it is reached. `operator`: the account that has kubectl of its own; `admin`: whether that may do everything."""

    name: str
    address: str
    platform: str
    environments: Mapping[str, KnownEnvironment]
    user: str = ""
    port: str = ""
    key: str = ""
    options: Sequence[str] = ()
    operator: str = ""
    admin: bool = False


# --- what is asked of Ansible ---------------------------------------------------------------------------------------------------------------


def configuration(environment: Mapping[str, str], directory: Path) -> tuple[configparser.ConfigParser, Path]:
    """Ansible's own configuration, and the directory that paths in it start from."""
    settings = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
    places = [directory / "ansible.cfg", Path.home() / ".ansible.cfg", Path("/etc/ansible/ansible.cfg")]
    if environment.get("ANSIBLE_CONFIG"):
        places.insert(0, Path(environment["ANSIBLE_CONFIG"]))
    place = next((place for place in places if place.is_file()), directory)
    settings.read(place, encoding="utf-8")
    return settings, place.parent


def configured(environment: Mapping[str, str], directory: Path) -> list[str]:
    """The inventories that Ansible's own configuration names, for a command without -i."""
    if environment.get("ANSIBLE_INVENTORY"):
        return environment["ANSIBLE_INVENTORY"].split(",")
    settings, root = configuration(environment, directory)
    named = settings.get("defaults", "inventory", fallback="")
    return [str(root / Path(name.strip()).expanduser()) for name in named.split(",") if name.strip()]


def usual_connection(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """How Ansible reaches servers whose inventory does not say it, by the keys of CONNECTION."""
    settings, root = configuration(environment, directory)
    found = {what: environment.get(name, "") or settings.get(section, key, fallback="") for what, (section, key, name) in SETTINGS.items()}
    if found["key"]:
        found["key"] = str(root / Path(found["key"]).expanduser())
    return found


def is_secret(path: Path) -> bool:
    """Whether a file of an inventory is left out: it is encrypted, or named as one of secrets."""
    if SECRET.fullmatch(path.name):
        return True
    with path.open("rb") as opened:
        return opened.read(len(ENCRYPTED)) == ENCRYPTED


def without_secrets(source: Path, target: Path) -> Path:
    """A copy of an inventory, made of links; returns what stands for `source` in it."""
    root = source if source.is_dir() else source.parent
    parts = [root] if source.is_dir() else [source, root / "group_vars", root / "host_vars"]
    for part in parts:
        files = [part] if part.is_file() else [path for path in part.rglob("*") if path.is_file()]
        for path in files:
            if path.name.startswith(".") or is_secret(path):
                continue
            link = target / path.relative_to(root)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    return target if source.is_dir() else target / source.name


def ask(command: Sequence[str]) -> str:
    """What one of Ansible's commands prints.

    Nobody is asked for a vault password, and one whose file is not here is not needed; Ansible refuses to begin without any that it can read.
    """
    quiet = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_ASK_VAULT_PASS": "0"}
    try:
        done = _done(command, quiet)
        if done.returncode != 0:
            with tempfile.NamedTemporaryFile("w", prefix="shaka-") as password:
                password.write("of nothing\n")
                password.flush()
                done = _done(command, {**quiet, "ANSIBLE_VAULT_PASSWORD_FILE": password.name})
    except FileNotFoundError as error:
        raise Mistake(f"{command[0]} is not on the PATH; activate the environment that ansible-core is installed in") from error
    if done.returncode != 0:
        raise Mistake(f"{command[0]} could not read the inventory: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")
    return done.stdout


def _done(command: Sequence[str], settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@contextmanager
def readable(inventories: Sequence[str], variables: Sequence[str]) -> Iterator[list[str]]:
    """Arguments for Ansible's commands that name the inventories without their secrets."""
    arguments: list[str] = []
    with ExitStack() as stack:
        for name in inventories:
            path = Path(name).expanduser().absolute()
            if "," in name or not path.exists():
                if "," not in name:
                    raise Mistake(f"the inventory {name} does not exist; name one with -i, or in the directory's ansible.cfg")
                arguments += ["-i", name]
                continue
            target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shaka-"))) / path.name
            target.mkdir()
            copied = without_secrets(path, target if path.is_dir() else target.parent)
            place = path if path.is_dir() else path.parent
            arguments += ["-i", str(copied), "-e", json.dumps({"inventory_dir": str(place)})]
        yield [*arguments, *(word for variable in variables for word in ("-e", variable))]


# --- what it says ---------------------------------------------------------------------------------------------------------------------------


def extract(raw: Mapping[str, Any], usual: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Of a server's variables, those that the commands need; texts may still be templates.

    :arg usual: what `usual_connection` found.
    """
    wanted: dict[str, Any] = {}
    for field_name, names in CONNECTION.items():
        wanted[field_name] = next((raw[name] for name in names if raw.get(name) not in (None, "")), (usual or {}).get(field_name, ""))
    wanted["platform"] = raw.get("platform_name") or "platform"
    wanted["operator"] = raw.get("host_operator_name") or ""
    wanted["access"] = raw.get("tenancy_operator_access") or ""
    shared = raw.get("platform_redis")
    wanted["redis_namespace"] = (shared.get("namespace") if isinstance(shared, dict) else None) or "shared"
    spaces = raw.get("platform_namespaces")
    wanted["namespaces"] = {name: (space or {}).get("namespace") or "" for name, space in spaces.items()} if isinstance(spaces, dict) else {}
    environments = raw.get("platform_environments")
    wanted["environments"] = {
        name: described(env if isinstance(env, dict) else {}) for name, env in (environments.items() if isinstance(environments, dict) else ())
    }
    previews = raw.get("platform_previews")
    wanted["previews"] = {
        name: {key: str(entry.get(key) or "") for key in ("of", "expires", "host")}
        for name, entry in (previews.items() if isinstance(previews, dict) else ())
        if isinstance(entry, dict)
    }
    wanted["preview_host"] = raw.get("platform_preview_host") or "{preview}.{host}"
    return wanted


def described(env: Mapping[str, Any]) -> dict[str, Any]:
    """What an environment of the inventory says of itself."""
    postgres, redis, apps = env.get("postgres") or {}, env.get("redis") or {}, dict(env.get("apps") or {})
    if "api" in env:
        apps.setdefault("api", env.get("api"))
    return {
        "namespace": env.get("namespace") or "",
        "postgres": {key: postgres.get(key) or "" for key in ("database", "user")},
        "redis": {key: redis.get(key) or "" for key in ("database", "prefix", "user", "dedicated")},
        "apps": {name: _hosts(app or {}) for name, app in apps.items()},
        "jobs": [name for name, app in apps.items() if (app or {}).get("schedule")],
    }


def _hosts(app: Mapping[str, Any]) -> list[str]:
    """The names that an application answers to."""
    named = app.get("hosts") or []
    return list(dict.fromkeys(str(host) for host in [app.get("host"), *(named if isinstance(named, list) else [named])] if host))


def server(name: str, found: Mapping[str, Any]) -> KnownServer:
    """A server out of what `extract` found, with the platform's own defaults."""
    platform = str(found["platform"])
    shared = str(found["redis_namespace"])
    shared_namespace = str(found["namespaces"].get(shared) or f"{platform}-{shared}")
    environments = {}
    for key, env in found["environments"].items():
        namespace = str(env["namespace"] or f"{platform}-{key}")
        database = str(env["postgres"]["database"] or f"{platform}_{key}".replace("-", "_"))
        redis = env["redis"]
        environments[str(key)] = KnownEnvironment(
            name=str(key),
            namespace=namespace,
            database=database,
            owner=str(env["postgres"]["user"] or database),
            redis_database=int(redis["database"] or 0),
            redis_prefix=str(redis["prefix"] or f"{key}:"),
            redis_user=str(redis["user"] or key),
            redis_namespace=namespace if str(redis["dedicated"]).lower() in ("true", "yes", "1") else shared_namespace,
            hosts={str(app): [str(host) for host in hosts if host] for app, hosts in env["apps"].items()},
            postgres_namespace=namespace,
            jobs=[str(app) for app in env["jobs"]],
        )
    for key, preview in found["previews"].items():
        if parent := environments.get(preview["of"]):
            template = preview["host"] or str(found["preview_host"])
            environments.setdefault(str(key), _preview(str(key), platform, parent, preview["expires"], template, shared_namespace))
    return KnownServer(
        name=name,
        address=str(found["address"] or name),
        platform=platform,
        environments=environments,
        user=str(found["user"]),
        port=str(found["port"]),
        key=str(found["key"]),
        options=[word for key in ("args", "common", "extra") for word in shlex.split(str(found[key]))],
        operator=str(found["operator"]),
        admin=found["access"] == "admin",
    )


def _preview(name: str, platform: str, parent: KnownEnvironment, expires: str, template: str, redis_namespace: str) -> KnownEnvironment:
    """A preview, by the names that the platform gives to what it has."""
    database = f"{platform}_preview_{name}".replace("-", "_")
    hosts = {app: [template.replace("{preview}", name).replace("{host}", host) for host in hosts[:1]] for app, hosts in parent.hosts.items()}
    return KnownEnvironment(
        name=name,
        namespace=f"{platform}-{name}",
        database=database,
        owner=database,
        redis_database=0 if parent.redis_namespace == parent.namespace else parent.redis_database,
        redis_prefix=f"preview.{name}:",
        redis_user=name,
        redis_namespace=redis_namespace,
        hosts=hosts,
        of=parent.name,
        postgres_namespace=parent.namespace,
        expires=expires,
        jobs=parent.jobs,
    )


def members(listed: Mapping[str, Any], group: str) -> list[str]:
    """The hosts of a group and of the groups within it, each once, in the inventory's order."""
    entry = listed.get(group) or {}
    names = [*entry.get("hosts", []), *(host for child in entry.get("children", []) for host in members(listed, child))]
    return list(dict.fromkeys(names))


def load(inventories: Sequence[str], variables: Sequence[str]) -> dict[str, KnownServer]:
    """The servers of an inventory.

    :arg inventories: of the options -i; none means Ansible's own configuration.
    :arg variables: of the options -e.
    """
    with readable(list(inventories) or configured(os.environ, Path.cwd()), variables) as arguments:
        listed = json.loads(ask(["ansible-inventory", "--list", *arguments]))
        servers, usual = {}, usual_connection(os.environ, Path.cwd())
        for name in members(listed, GROUP):
            found = extract(listed["_meta"]["hostvars"].get(name, {}), usual)
            if "{{" in json.dumps(found) or "{%" in json.dumps(found):
                # ansible-inventory shows templates as they are written; the ad-hoc command resolves them, without a connection.
                said = ask(["ansible", name, *arguments, "-m", "ansible.builtin.debug", "-a", json.dumps({"msg": found})])
                found = json.loads(said[said.index("{") :])["msg"]
            servers[name] = server(name, found)
    if not servers:
        raise Mistake(f"the inventory has no server in its group {GROUP}; name another inventory with -i")
    return servers

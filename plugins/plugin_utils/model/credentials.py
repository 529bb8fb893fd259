# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks an inventory's secrets: none is missing, weak, used twice or copied into configuration. No message contains a value."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import quote

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Backup, Environment, Probe
from ansible_collections.shaka.platform.plugins.plugin_utils import preview_secrets
from ansible_collections.shaka.platform.plugins.plugin_utils.model import acme, backup, edge, point_in_time, redis, rules, sops
from ansible_collections.shaka.platform.plugins.plugin_utils.model.postgres import POOLER_SECRET, own_secrets
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest

# Of the hashes by which pods follow a changed value, and which more people may see than the value; and of the secrets of previews
HASH_KEY = preview_secrets.HASH_KEY
SHARED = {"shared": [redis.ADMINISTRATOR, HASH_KEY]}
# What the server writes backups with; what reads them and what deletes them, both of which may be left out.
S3_GROUPS = ("s3", "s3_reader", "s3_keeper")
_OWN = ("DB_PASSWORD", "REDIS_PASSWORD")  # which the platform sets in its own servers
_OF_BACKUPS = (backup.KEY, *backup.OWN_S3, point_in_time.SECRET)  # an environment's own, which its application does not get
DEFAULT_MINIMUM = 32
STILL_ENCRYPTED = "is still encrypted by SOPS; install the collection community.sops and let it read the inventory (docs/secrets.md)"
LEAST_MINIMUM = 16  # no inventory may ask for less
S3_ISSUED, REGISTRY_ISSUED, GIVEN = "your S3 service's credentials", "the registry's token", "what its service gave you"
ISSUED = {**dict.fromkeys(S3_GROUPS, S3_ISSUED), "registries": REGISTRY_ISSUED, acme.GROUP: GIVEN}  # by others, who choose their length
GROUPS = (*SHARED, *ISSUED)  # besides the environments, none of which can be called so

_CONFIG = "a ConfigMap"

PREVIOUS = "_PREVIOUS"  # ends the name of a key of before a rotation, which opens what is not encrypted again yet


_PLATFORM_S = {HASH_KEY, POOLER_SECRET, redis.ADMINISTRATOR, *_OF_BACKUPS}  # with which no application encrypts


_OF_DATA = re.compile(r"CRYPT|CIPHER|(^|_)((APP|DATA|ENC|MASTER|PRIVATE|SECRET)?KEY(S|SET|RING)?|FERNET|AES|SALTS?|PEPPERS?|PASSPHRASES?)[0-9]*(_|$)")


def encrypts(name: str) -> bool:
    """Whether an application may encrypt data with a secret of that name, so that the only copy of its value must not go.

    As frameworks call it: ENCRYPTION_KEY, APP_KEY (Laravel), SECRET_KEY_BASE and MASTER_KEY (Rails), SECRET_KEY (Django), FERNET_KEY, masterkey; and
    what hashes are made with, which cannot be made again: PASSWORD_PEPPER, HASHIDS_SALT.
    """
    upper = name.upper()
    if name in _PLATFORM_S or upper.endswith(PREVIOUS):
        return False
    return _OF_DATA.search(upper) is not None


def is_previous(name: str) -> bool:
    """Whether that is the key of before a rotation, which nobody makes anew."""
    return name.upper().endswith(PREVIOUS) and encrypts(name[: -len(PREVIOUS)])


def flat(secrets: Any, problems: Problems | None = None) -> dict[str, dict[str, str]]:
    """Group -> name -> text; anything of another shape is left out, and reported when `problems` is given."""
    result: dict[str, dict[str, str]] = {}
    for group, names in (secrets if isinstance(secrets, Mapping) else {}).items():
        if not isinstance(names, Mapping):
            if problems is not None and names is not None:
                problems.add(f"platform_secrets.{group}", "must be a dictionary (NAME: value)")
            continue
        result[str(group)] = {}
        for name, value in names.items():
            if isinstance(value, (Mapping, list, int, float, date)):  # what YAML made of it may be another text than was written
                if problems is not None:
                    problems.add(f"platform_secrets.{group}.{name}", "is not text; quote it, without !unsafe")
                continue
            result[str(group)][str(name)] = "" if value is None else value if isinstance(value, str) else str(value)
    return result


def minimum_of(lengths: Mapping[str, Any], problems: Problems) -> dict[str, int]:
    """Secret name -> least length."""
    result: dict[str, int] = {}
    for name, text in lengths.items():
        if isinstance(text, bool) or not re.fullmatch("[0-9]+", str(text)) or int(text) < LEAST_MINIMUM:
            problems.add(f"platform_secret_minimum.{name}", f"must be a whole number of characters, {LEAST_MINIMUM} or more", text)
        else:
            result[str(name)] = int(text)
    return result


@dataclass
class _Expected:
    """Names of secrets by their groups: those that must be there, and those that may."""

    needed: dict[str, list[str]]
    optional: dict[str, list[str]]
    given: dict[str, list[str]]  # those of applications whose values are from elsewhere
    users: dict[str, list[str]]  # those that hold names and hashes of passwords

    def issued(self, group: str, name: str) -> str:
        """What a value is that others have issued; '' for one of the platform's own."""
        return S3_ISSUED if name in backup.OWN_S3 else GIVEN if name in self.given.get(group, []) else ISSUED.get(group, "")

    def of(self, group: str) -> list[str]:
        return [*self.needed.get(group, []), *self.optional.get(group, [])]


def issued_elsewhere(raw: Mapping[str, Any]) -> set[str]:
    """Names of applications' secrets whose values come from elsewhere."""
    given = raw.get("given")
    return {*(given if isinstance(given, list) else []), *raw["platform_secrets_shared"]}


def _expected(
    raw: Mapping[str, Any],
    environments: Mapping[str, Environment],
    copied: Backup | None,
    of_acme: list[str],
    secrets: Mapping[str, Mapping[str, str]],
) -> _Expected:
    needed = {name: [*env["secrets"], *own_secrets(env["postgres"]), *redis.own_secrets(env["redis"])] for name, env in environments.items()} | SHARED
    before = {name: [secret + PREVIOUS for secret in env["secrets"] if encrypts(secret)] for name, env in environments.items()}
    users = {name: edge.own_secrets(env) for name, env in environments.items()}
    optional = {name: [*_OF_BACKUPS, *before[name], *users[name]] for name in environments} | {group: [*backup.S3_PAIR] for group in S3_GROUPS}
    optional["shared"] = [backup.KEY, *backup.OWN_S3]
    for name, env in environments.items():
        if env["backup"]["s3"]["endpoint"]:
            own = any(secrets.get(name, {}).get(key) for key in backup.OWN_S3)
            needed[name] = [*needed[name], backup.KEY, *(backup.OWN_S3 if own else ())]
            needed[name] += [point_in_time.SECRET] if env["backup"]["point_in_time"]["enabled"] else []
            needed |= {} if own else {"s3": [*backup.S3_PAIR]}
    if copied is not None:
        own = copied["writer"]["access_key"].startswith("shared/")
        needed |= {"shared": [*SHARED["shared"], backup.KEY, *(backup.OWN_S3 if own else ())]} | ({} if own else {"s3": [*backup.S3_PAIR]})
    needed |= {group: [*backup.S3_PAIR] for group in S3_GROUPS if any(secrets.get(group, {}).values())}
    needed |= {acme.GROUP: of_acme} if of_acme else {}
    if raw["platform_registries"]:
        passwords = [entry.get("password") for entry in raw["platform_registries"].values() if isinstance(entry, Mapping)]
        needed["registries"] = [str(name) for name in passwords if name]
    elsewhere = issued_elsewhere(raw)
    given = {name: [secret for secret in env["secrets"] if secret in elsewhere and secret not in _OWN] for name, env in environments.items()}
    return _Expected(needed, optional, given, users)


def check(
    raw: Mapping[str, Any],
    environments: Mapping[str, Environment],
    copied: Backup | None,
    of_acme: list[str],
    problems: Problems,
    previewed: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Every secret that is used has a strong value, and every value is used.

    :arg copied: the backups of the shared Redis.
    :arg of_acme: names of those of the certificate authority.
    :arg previewed: what previews have in their own config.
    """
    minimum = minimum_of(raw["platform_secret_minimum"], problems)
    secrets = flat(raw["platform_secrets"], problems)
    if any(value.startswith(sops.MARK) for names in secrets.values() for value in names.values()):
        problems.add("platform_secrets", STILL_ENCRYPTED)
        return
    expected = _expected(raw, environments, copied, of_acme, secrets)
    for name, env in environments.items():
        for key in {*_OF_BACKUPS} & set(env["secrets"]):
            text = f"holds {key}, which the environment's backups have and its application does not get; give the application's another name"
            problems.add(f"platform_environments.{name}.secrets", text)
        for key in filter(is_previous, env["secrets"]):
            if not secrets.get(name, {}).get(key):
                text = f"lists {key}, which has no value but after a rotation of {key[: -len(PREVIOUS)]}; take it out until then (docs/secrets.md)"
                problems.add(f"platform_environments.{name}.secrets", text)
        for key in env["variables"]["secrets"]:
            problems.check(f"platform_secrets.{name}.{key}", rules.variable_size(key, secrets.get(name, {}).get(key, "")))
    for group, names in expected.needed.items():
        missing = [name for name in dict.fromkeys(names) if not secrets.get(group, {}).get(name) and not is_previous(name)]
        _check_missing(group, missing, expected, minimum, problems)
    _check_shared(raw["platform_secrets_shared"], environments, problems)
    paths_of: dict[str, list[str]] = defaultdict(list)  # value -> where it is used
    for group, values in secrets.items():
        path, names = f"platform_secrets.{group}", expected.of(group)
        if not names:
            problems.add(path, f"belongs to no environment; rename or remove it; {nearest(group, expected.needed)}")
            continue
        for name, value in values.items():
            if name not in names:
                where = f"; add it to platform_environments.{group}.secrets, or remove it" if group in environments else "; remove it"
                problems.add(f"{path}.{name}", f"is used by nothing{where}; {nearest(name, names)}")
            elif value:
                paths_of[value].append(f"{path}.{name}")
                _check_value(group, name, value, expected, minimum, problems)
    for paths in paths_of.values():
        owners = [path.split(".", 2)[1:] for path in paths]
        # a service may give several users one set of keys
        alike = {expected.issued(group, name) for group, name in owners} <= {S3_ISSUED} or {group for group, _name in owners} == {"registries"}
        if len(paths) > 1 and not alike and not {name for _group, name in owners} <= {*raw["platform_secrets_shared"]}:
            issued = all(expected.issued(group, name) == GIVEN for group, name in owners)
            own = "get one for each environment, or name it in platform_secrets_shared if its service gave you one for all"
            remedy = own if issued else "each secret has a value of its own (openssl rand -hex 32)"
            problems.add(paths[-1], f"is the same as {', '.join(paths[:-1])}; {remedy}")
    _check_leaks(_open_texts(environments, previewed), paths_of, problems)


def _check_shared(names: Iterable[str], environments: Mapping[str, Environment], problems: Problems) -> None:
    """Only what others have issued may be the same in several environments."""
    known = {name for env in environments.values() for name in env["secrets"]} - {*_OWN}
    for name in names:
        if name in _OWN:
            problems.add("platform_secrets_shared", "is set in the platform's own server of each environment; give each one of its own", name)
        elif name not in known:
            problems.add("platform_secrets_shared", f"is a secret of no environment; {nearest(name, known)}", name)


def _check_value(group: str, name: str, value: str, expected: _Expected, minimum: Mapping[str, int], problems: Problems) -> None:
    path, issued = f"platform_secrets.{group}.{name}", expected.issued(group, name)
    if name == POOLER_SECRET and '"' in value:  # a quote ends the value in PgBouncer's file
        problems.add(path, 'has a character that PgBouncer would take for its end ("); use another value')
    if name in expected.users.get(group, []):
        problems.check(path, edge.users(value))
        return
    if issued:
        flaw = rules.issued_secret(value, any_text=issued in (GIVEN, REGISTRY_ISSUED))
        problems.check(path, None if flaw is None else f"{flaw}; is it {issued}?")
        if group == acme.GROUP and flaw is None:
            problems.check(path, acme.secret_flaw(name, value))
        return
    flaw = rules.secret(value, _least(name, minimum))
    elsewhere = f", or name {name} in secrets_given if a service gave it to you" if group not in GROUPS and name not in _OWN else ""
    problems.check(path, None if flaw is None else f"{flaw}; replace it by a random value (openssl rand -hex 32){elsewhere}")


def _least(name: str, minimum: Mapping[str, int]) -> int:
    return minimum.get(name, DEFAULT_MINIMUM)


def _check_missing(group: str, missing: list[str], expected: _Expected, minimum: Mapping[str, int], problems: Problems) -> None:
    issuers = {name: expected.issued(group, name) for name in missing}
    for issuer in dict.fromkeys(issuers.values()):
        names = [name for name in missing if issuers[name] == issuer]
        least = " or ".join(map(str, sorted({_least(name, minimum) for name in names})))
        random = f"`ansible-playbook shaka.platform.secrets` generates what is missing (by hand: at least {least} characters of openssl rand -hex 32)"
        remedy = f"fill in group_vars/all/secrets.yml with {issuer}, encrypted with ansible-vault" if issuer else random
        problems.add(f"platform_secrets.{group}", f"{', '.join(names)} missing; {remedy}")


def _forms(value: str) -> set[str]:
    """A value as it may stand in a text: as it is, in a URL, in JSON."""
    return {value, quote(value, safe=""), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


def _check_leaks(open_texts: Iterable[tuple[str, str, str]], paths_of: Mapping[str, list[str]], problems: Problems) -> None:
    """Nothing that more people may read holds a secret's value: who may see the namespace can read it, and diffs show it."""
    known = [(_forms(value), paths[0]) for value, paths in paths_of.items() if len(value) >= LEAST_MINIMUM]
    for path, text, where in open_texts:
        for forms, place in known:
            if any(form in text for form in forms):
                problems.add(path, f"holds the value of {place}, and it does not belong in {where}; let the application read the secret")


def _open_texts(environments: Mapping[str, Environment], previewed: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Path, text and the place in the cluster, of what the inventory says openly."""
    for name, env in environments.items():
        for option, text in env["config"].items():
            yield f"platform_environments.{name}.config.{option}", text, _CONFIG
        for app in env["apps"].values():
            probes = {f"probes.{kind}.command": probe["command"] for kind, probe in cast(Mapping[str, Probe], app["probes"]).items()}
            for part, words in {"command": app["command"], "args": app["args"], "migrate.command": app["migrate"]["command"], **probes}.items():
                for word in words:
                    yield f"{app['path']}.{part}", word, "a pod's command"
            for header, value in app["edge"]["headers"].items():
                yield f"{app['path']}.edge.headers.{header}", rules.as_text(value), "an answer to everybody"
    for name, config in previewed.items():
        for option, text in config.items():
            yield f"platform_previews.{name}.config.{option}", text, _CONFIG

"""What the inventory's rules say is what their consumers say: a pod reads each text as it was given, and the API server takes what the rules take."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from conftest import ROOT, Server

CONVERGE = "molecule/environments/converge.yml"
NAMESPACE = "shaka-dev"
TEXTS = (
    "Shaka 🤙 ação 漢字", "\"double\" 'single' `back` \\ \\n \\\\ \\u0041", "is {{ 7 * 7 }} {% raw %} {# kept #}",
    "one\ntwo\n", "\n", "dos\r\nend\r\n",
    "\ttab\t", "  both ends  ", "123", "0123", "1e7", "0x1F", "1_000", "1.10", "12:30", "on", "No", "null", "~", "2026-01-01", "- a", "a: b # c",
    "$HOME $(NODE_ENV) $$ ${X}", "\x01\x1b[0m\x7f\x85\u2028\ufeff", "long" * 25_000,
)  # fmt: skip
# The pod says its own environment and the files of the ConfigMap, in base64.
SAY = "base64 -w0 </proc/self/environ; echo; cd /config; for file in *; do echo $file $(base64 -w0 <$file); done"


def unsafe(text: str) -> str:
    """With the tag only where there are braces: Ansible makes a number of !unsafe "0123" again."""
    return Unsafe(text) if "{" in text else text


class Unsafe(str):
    """Text that Ansible is to leave alone."""

    __slots__ = ()


class Writer(yaml.SafeDumper):
    """Writes an inventory's file."""


Writer.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def given(folder: Path, values: Mapping[str, str]) -> str:
    """The data layer, with the texts as config and as secrets of dev, as an owner writes them in a file."""
    laid = yaml.safe_load((ROOT / "molecule/environments/vars/data.yml").read_text())
    config = {f"C_{name}": unsafe(text) for name, text in values.items()}
    secrets = {f"S_{name}": unsafe(text + "!") for name, text in values.items()}
    laid["platform_profiles"]["data"]["environments"]["dev"] = {"config": config, "secrets": ["DB_PASSWORD", "REDIS_PASSWORD", *secrets]}
    own = "DB_PASSWORD", "REDIS_PASSWORD", "BACKUP_KEY"
    laid["platform_secrets"] = "{{ lab.secrets | combine(__secrets, recursive=true) | combine({'dev': __dev}) }}"
    laid["__dev"] = {**{name: f"{{{{ lab.secrets.dev.{name} }}}}" for name in own}, **secrets}
    laid["secrets_given"] = list(secrets)
    path = folder / "texts.yml"
    path.write_text(yaml.dump(laid, Dumper=Writer, allow_unicode=True))
    return f"@{path}"


def heard(server: Server) -> tuple[dict[str, str], dict[str, str]]:
    """(environment, files) of a pod that is given the application's ConfigMap and Secret as the application is."""
    image = server.run(f"kubectl get statefulset postgres -n {NAMESPACE} -o jsonpath='{{.spec.template.spec.containers[0].image}}'")
    limits = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "64Mi"}
    container = {
        "name": "texts", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", SAY],
        "resources": {"limits": limits, "requests": limits},
        "envFrom": [{"configMapRef": {"name": "shaka-api-config"}}, {"secretRef": {"name": "shaka-api-secrets"}}],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False, "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "shaka-api-config"}}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "texts", "namespace": NAMESPACE}, "spec": spec}
    server.run(f"kubectl delete pod texts -n {NAMESPACE} --ignore-not-found --wait; echo {shlex.quote(json.dumps(pod))} | kubectl create -f -")
    try:
        server.run(f"kubectl wait --for=jsonpath='{{.status.phase}}'=Succeeded pod/texts -n {NAMESPACE} --timeout=90s")
        environ, *files = server.run(f"kubectl logs texts -n {NAMESPACE}").splitlines()
    finally:
        server.run(f"kubectl delete pod texts -n {NAMESPACE} --wait=false")
    entries = (entry.partition("=") for entry in base64.b64decode(environ).decode().split("\0"))
    contents = (line.partition(" ") for line in files)
    return {name: text for name, _is, text in entries}, {name: base64.b64decode(text).decode() for name, _gap, text in contents}


def test_any_text_reaches_the_application_byte_for_byte(server: Server, tmp_path: Path) -> None:
    values = {str(number): text for number, text in enumerate(TEXTS)}
    try:
        done = server.playbook(CONVERGE, "--tags", "config", "-e", given(tmp_path, values))
        assert done.returncode == 0, done.stdout
        environment, files = heard(server)
    finally:
        back = server.playbook(CONVERGE, "--tags", "config", "-e", "@molecule/environments/vars/data.yml")
    assert {name: environment.get(f"C_{name}") for name in values} == values
    assert {name: files.get(f"C_{name}") for name in values} == values
    assert {name: environment.get(f"S_{name}") for name in values} == {name: text + "!" for name, text in values.items()}
    assert back.returncode == 0, back.stdout


def job(name: str, **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x:1"}]}
    template = {"spec": {"template": {"spec": pod}}}
    spec = {"schedule": "0 2 * * *", "timeZone": "Etc/UTC", "jobTemplate": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def service(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"shaka.platform/tenant": name}}}


def ingress(host: str = "api.acme.net", path: str = "/") -> dict[str, Any]:
    route = {"path": path, "pathType": "Prefix", "backend": {"service": {"name": "x", "port": {"number": 80}}}}
    spec = {"rules": [{"host": host, "http": {"paths": [route]}}]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x", "namespace": "default"}, "spec": spec}


def policy(cidr: str) -> dict[str, Any]:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "default"}, "spec": spec}


def config(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}, "data": {name: "x"}}


SCHEDULES = (
    "0 2 * * *", "0 2 * * 0", "0 2 * * 7", "0 2 * * 5-7", "0 2 * * 0-6", "0 2 * * sun", "0 2 * * SUN,mon", "0 2 * * mon-fri", "0 2 * * sunday",
    "0 2 * jan *", "0 2 * 0 *", "0 2 * 13 *", "0 2 0 * *", "0 2 32 * *", "0 24 * * *", "60 * * * *", "*/5 * * * *", "5/10 * * * *", "*/0 * * * *",
    "*/00 * * * *", "1-5/2 * * * *", "5-1 * * * *", "? ? ? ? ?", "0 2 L * *", "0 2 * * 1#2", "0 2 15W * *", "a * * * *", "² * * * *", "* * * *",
    "* * * * * *", "", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@Daily", "@reboot", "@every 6h",
    "@every 1h30m", "@every 90s", "@every", "@every 6", "CRON_TZ=UTC 0 2 * * *", "TZ=UTC 0 2 * * *", "  0 2 * * *  ", "0\t2 * * *", "1,2,3 * * * *",
    "*/61 * * * *",
)  # fmt: skip
ZONES = (
    "America/Sao_Paulo", "America/Sao_Pualo", "Etc/UTC", "UTC", "Europe/Berlin", "Local", "local", "BRT", "UTC+3", "+03:00", "Etc/GMT+3",
    "america/sao_paulo", "America", "../UTC", "/UTC", "America/Sao_Paulo ", "Brasilia",
)  # fmt: skip
NAMES = (
    "dev", "a", "pr-123", "Dev", "dev_1", "dev.1", "-dev", "dev-", "a--b", "x" * 63, "x" * 64, "é", "dev 1", "3shaka", "y", "on", "no",
)  # fmt: skip
HOSTS = (
    "api.acme.net", "a.b.c.acme.net", "API.acme.net", "api_1.acme.net", "-a.acme.net", "api..acme.net", "api.acme.net.",
    "xn--ao-via.acme.net",
)  # fmt: skip
PATHS = (  # without those that Traefik finds no request for: the API server takes them, the rule does not
    "/", "/api", "/api/", "/a//b", "/a/./b", "/a/../b", "/a/..", "/a/.", "/..", "/%2f", "/%2F", "/é", "/a;b", "/{x}", "api", "",
)  # fmt: skip
NETWORKS = (
    "10.0.0.0/8", "10.0.0.7", "10.0.0.7/8", "10.0.0.0/255.0.0.0", "10.0.0.0/33", "010.0.0.0/8", "0.0.0.0/0", "fd00::/8", "FD00::1", "::/0",
    "::ffff:10.0.0.0/104", "fe80::1%eth0", "fe80::%eth0/64", "api.acme.net", "",
)  # fmt: skip
VARIABLES = (
    "NODE_ENV", "_x", "on", "NULL", "True", "y", "a b", "é", "a/b", "x" * 253,
)  # fmt: skip


# What the rules refuse for a reason of ours, the API server may take; and never the other way round.
STRICTER = ("environments", "platforms", "hosts")


@pytest.mark.parametrize(
    ("what", "rule", "make", "values"),
    [
        ("schedules", rules.cron, lambda value: job("x", schedule=value), SCHEDULES),
        ("time zones", rules.time_zone, lambda value: job("x", timeZone=value), ZONES),
        ("namespaces", rules.label, namespace, NAMES),
        ("variables", rules.variable_name, config, VARIABLES),
        ("environments", rules.label, lambda name: service(f"pgbouncer-{name}"), [name for name in NAMES if len(name) < 50]),
        ("platforms", rules.platform_name, lambda name: service(f"{name}-api-next"), [*NAMES, "x" * 54, "x" * 55]),
        ("hosts", rules.host, ingress, HOSTS),
        ("paths", rules.edge_path, lambda path: ingress(path=path), PATHS),
        ("networks", rules.network, lambda cidr: policy(rules.networks([cidr])[0]), NETWORKS),
    ],
)
def test_the_api_server_takes_what_the_rules_take(
    server: Server, what: str, rule: Callable[[str], str | None], make: Callable[[str], dict[str, Any]], values: Sequence[str]
) -> None:
    asked = (shlex.quote(json.dumps(make(value))) for value in values)
    calls = "\n".join(f"echo {text} | kubectl create --dry-run=server -f - >/dev/null 2>&1; echo $?" for text in asked)
    taken = dict(zip(values, [code == "0" for code in server.run(calls).split()], strict=True))
    ruled = {value: rule(value) is None for value in values}
    compared = {value: ruled[value] or (taken[value] and what not in STRICTER) for value in values}
    assert {value: taken[value] for value in values if compared[value]} == {value: ruled[value] for value in values if compared[value]}
    assert True in taken.values() and False in taken.values()

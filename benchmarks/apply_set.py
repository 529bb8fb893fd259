"""120 objects by apply_set, by kubernetes.core.k8s (a task each; one task with a list) and by kubectl: first, no-op and check run, side by side.

    python3 benchmarks/apply_set.py              on a lab server of its own, removed afterwards (about 12 minutes on 2 cores)
    python3 benchmarks/apply_set.py --lab NAME   on a lab where the role k3s has run

Writes results/apply_set.md and .svg. The competitors come from PyPI's `ansible` package, in a virtual environment in the lab's cache.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

PACKAGE = "ansible==12.3.0"  # brings kubernetes.core 6.2
SERVER_PYTHON = "/var/lib/shaka/venv/bin/python"  # has the kubernetes client
COLOURS = {"first": "#9aa5b1", "no-op": "#1f77b4", "check": "#6baed6"}  # of the runs


@dataclass(frozen=True)
class Contender:
    """One way to apply the objects; the tasks are those of a playbook, the last one is timed."""

    name: str
    title: str
    tasks: list[dict[str, Any]]
    python: str = SERVER_PYTHON
    says_changed: bool = True


@dataclass(frozen=True)
class Timing:
    """What one run took and reported."""

    seconds: float
    changed: int | None


def objects(count: int, namespace: str) -> list[dict[str, Any]]:
    """Objects of the kinds that a platform is made of, none of which starts a pod."""

    def one(number: int) -> dict[str, Any]:
        name, labels = f"bench-{number:03}", {"app": f"bench-{number:03}"}
        container = {"name": "main", "image": "none", "env": [{"name": f"V{n}", "value": str(n)} for n in range(10)]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        kinds: list[tuple[str, str, dict[str, Any]]] = [
            ("v1", "ConfigMap", {"data": {f"key{n}": "value " * 10 for n in range(10)}}),
            ("v1", "Secret", {"data": {"password": "bm90LWEtc2VjcmV0"}}),
            ("v1", "Service", {"spec": {"selector": labels, "ports": [{"name": "http", "port": 80}]}}),
            ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"]}}),
            ("v1", "ServiceAccount", {"automountServiceAccountToken": False}),
            ("apps/v1", "Deployment", {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}),
        ]
        version, kind, fields = kinds[number % len(kinds)]
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}

    return [one(number) for number in range(count)]


def contenders() -> list[Contender]:
    """Fastest last, so that the progress shows what it is about."""
    model = {"name": "bench", "complete": True, "environments": {}, "namespaces": {}}
    kubectl = "k3s kubectl apply --server-side -f - {{ '--dry-run=server' if ansible_check_mode else '' }}"
    stdin = "{{ {'apiVersion': 'v1', 'kind': 'List', 'items': objects} | to_json }}"
    k8s = {"kubeconfig": "/etc/rancher/k3s/k3s.yaml"}
    return [
        Contender(
            "k8s_each", "kubernetes.core.k8s, a task each", [{"kubernetes.core.k8s": {**k8s, "definition": "{{ item }}"}, "loop": "{{ objects }}"}]
        ),
        Contender("k8s_list", "kubernetes.core.k8s, one task with a list", [{"kubernetes.core.k8s": {**k8s, "definition": "{{ objects }}"}}]),
        Contender(
            "kubectl",
            "kubectl apply --server-side",
            [{"ansible.builtin.command": {"cmd": kubectl, "stdin": stdin}, "check_mode": False}],
            says_changed=False,
        ),
        Contender(
            "apply_set",
            "shaka.platform.apply_set",
            [
                {"ansible.builtin.set_fact": {"platform_model": model}},
                {"ansible.builtin.include_role": {"name": "bench"}},
            ],
            python="/usr/bin/python3",  # as in the site: the module finds the client's interpreter itself
        ),
    ]


class Bench:
    """A directory with what Ansible needs, and one server."""

    def __init__(self, place: Path, server: common.Server, venv: Path, count: int) -> None:
        self.place, self.server, self.venv, self.count = place, server, venv, count
        lab = server.lab
        host = {"ansible_host": lab["address"], "ansible_user": "root", "ansible_ssh_private_key_file": lab["key"]}
        host["ansible_ssh_common_args"] = f"-o UserKnownHostsFile={lab['known_hosts']}"
        (place / "hosts.json").write_text(json.dumps({"all": {"hosts": {"server": host}}}))
        (place / "ansible.cfg").write_text("[defaults]\n")
        role = place / "roles/bench"
        for name in ("tasks", "templates/cluster"):
            (role / name).mkdir(parents=True)
        (role / "tasks/main.yml").write_text(json.dumps([{"shaka.platform.apply_set": {}}]))
        template = "{% for object in objects %}\n---\n{{ object | to_json }}\n{% endfor %}\n"
        (role / "templates/cluster/objects.yaml.j2").write_text(template)
        self.environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(common.ROOT / ".ansible/collections"),
            "ANSIBLE_ROLES_PATH": str(place / "roles"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_HOST_KEY_CHECKING": "false",
        }

    def run(self, contender: Contender, run: str) -> Timing:
        """One playbook run; the time is that of its last task, from Ansible's own records."""
        variables = {"ansible_python_interpreter": contender.python, "objects": objects(self.count, f"bench-{contender.name.replace('_', '-')}")}
        play = [{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": contender.tasks}]
        playbook = self.place / f"{contender.name}.json"
        playbook.write_text(json.dumps(play))
        command = [
            str(self.venv / "bin/ansible-playbook"),
            "-i",
            str(self.place / "hosts.json"),
            str(playbook),
            *(["--check"] if run == "check" else []),
        ]
        done = subprocess.run(command, env=self.environment, cwd=self.place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr}")
        task = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][-1]
        start, end = (datetime.datetime.fromisoformat(task["task"]["duration"][name]) for name in ("start", "end"))
        return Timing((end - start).total_seconds(), _changed(task["hosts"]["server"]) if contender.says_changed else None)

    def inside(self) -> dict[str, float]:
        """Seconds inside the module, without Ansible, SSH and the start of Python, for a no-op and a check run."""
        params = {
            "role": "bench", "part_of": "bench", "complete": True, "secrets": {}, "kubeconfig": "/etc/rancher/k3s/k3s.yaml", "wait": True,
            "wait_timeout": 60, "prune": True, "delete": [], "controllers": [],
            "sets": [{"name": "bench", "objects": objects(self.count, "bench-apply-set")}],
        }  # fmt: skip
        path = "ansible_collections/shaka/platform/plugins/module_utils"
        archive = subprocess.run(
            ["tar", "-cz", "--transform", f"s,^plugins/module_utils,{path},", "plugins/module_utils"],
            cwd=common.ROOT,
            capture_output=True,
            check=True,
        )
        place = self.server.run("mktemp -d").strip()
        subprocess.run([*self.server.ssh, f"tar -xz -C {place}"], input=archive.stdout, check=True)
        program = (
            "import json, sys, time; sys.path.insert(0, sys.argv[1]); "
            "from ansible_collections.shaka.platform.plugins.module_utils.engine.applier import run; request = json.load(sys.stdin); "
            "start = time.monotonic(); answer = run(request['params'], request['check'], False); "
            "print(json.dumps([time.monotonic() - start, answer['changed'], answer['msg']]))"
        )
        found = {}
        for name in ("no-op", "check"):
            request = json.dumps({"params": params, "check": name == "check"})
            seconds, changed, message = json.loads(self.server.run(f'{SERVER_PYTHON} -I -c "{program}" {place}', request))
            if changed:
                raise SystemExit(f"apply_set reports a change on an unchanged set: {message}")
            found[name] = float(seconds)
        self.server.run(f"rm -r {place}")
        return found


def _changed(result: dict[str, Any]) -> int:
    """How many objects were reported as changed; a list that does not say which is one."""
    if "counts" in result:
        return sum(result["counts"][action] for action in ("created", "changed", "pruned"))
    rounds = result.get("results") or (result.get("result") or {}).get("results") or []
    return sum(bool(each.get("changed")) for each in rounds) if rounds else int(bool(result.get("changed")))


def table(timings: dict[str, dict[str, Timing]], inside: dict[str, float], about: list[str]) -> str:
    """The results as Markdown."""
    lines = ["# 120 objects on a real API server", "", "![seconds of each task](apply_set.svg)", "", *about, ""]
    lines += ["| | " + " | ".join(f"{run} run | changed" for run in COLOURS) + " |", "|---" + "|---:" * 6 + "|"]
    for contender in reversed(contenders()):
        cells = [
            f"{timing.seconds:.1f} s | {'cannot say' if timing.changed is None else timing.changed}"
            for timing in (timings[contender.name][run] for run in COLOURS)
        ]
        lines.append(f"| {contender.title} | " + " | ".join(cells) + " |")
    lines += ["", "Seconds of the task, SSH and the start of Python on the server included; the start of `ansible-playbook` is not."]
    lines += ["apply_set also waits until the controllers have seen what it made (20 Deployments); the others return at once."]
    lines += ["Check is `--check`, for kubectl `--dry-run=server`, which says serverside-applied of every object, changed or not."]
    lines += [f"Inside the module, apply_set takes {inside['no-op']:.2f} s (no-op) and {inside['check']:.2f} s (check).", ""]
    return "\n".join(lines)


def chart(timings: dict[str, dict[str, Timing]], about: str) -> str:
    """Bars on one linear scale, so that their lengths can be compared."""
    bars = []
    for contender in reversed(contenders()):
        for run, timing in timings[contender.name].items():
            wrong = f", and reports {timing.changed} changed" if run == "no-op" and timing.changed else ""
            bars.append(common.Bar(contender.title, f"{run} run", timing.seconds, f"{timing.seconds:.1f} s{wrong}", COLOURS[run]))
    return common.chart("Seconds to apply 120 objects", bars, about, one_scale=True)


def _venv(given: str) -> Path:
    place = Path(given) if given else common.CACHE / f"benchmark-{PACKAGE}"
    if not (place / "bin/ansible-playbook").exists():
        print(f"installing {PACKAGE} into {place} (once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(place / "bin/pip"), "install", "--quiet", PACKAGE], check=True)
    return place


def measure(server: common.Server, venv: Path, count: int) -> None:
    timings: dict[str, dict[str, Timing]] = {}
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), server, venv, count)
        namespaces = " ".join(f"bench-{contender.name.replace('_', '-')}" for contender in contenders())
        server.run(f"k3s kubectl delete namespace {namespaces} --ignore-not-found")
        server.run(f"for name in {namespaces}; do k3s kubectl create namespace $name; done")
        load = os.getloadavg()[0]
        for contender in contenders():
            for run in COLOURS:
                print(f"{contender.title}, {run} run ... ", end="", flush=True)
                timing = bench.run(contender, run)
                timings.setdefault(contender.name, {})[run] = timing
                print(f"{timing.seconds:.1f} s, {'cannot say what' if timing.changed is None else timing.changed} changed", flush=True)
        inside = bench.inside()
        server.run(f"k3s kubectl delete namespace {namespaces} --wait=false")
    where = server.about(load)
    about = [
        f"{where}.",
        f"Competitors: PyPI {PACKAGE}. {count} objects of six kinds (ConfigMap, Secret, Service, NetworkPolicy, ServiceAccount, Deployment).",
    ]
    text = table(timings, inside, about)
    print("\n" + text)
    if count == 120:
        common.keep("apply_set", text, chart(timings, where))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="", help="a lab where the role k3s has run (default: one of its own)")
    parser.add_argument("--venv", default="", help=f"a virtual environment that has {PACKAGE} already")
    parser.add_argument("--objects", type=int, default=120, help="how many; results are written for 120 only")
    arguments = parser.parse_args()
    started, venv = time.monotonic(), _venv(arguments.venv)
    with common.server(arguments.lab) as server:
        if not arguments.lab:
            server.site("k3s")
        measure(server, venv, arguments.objects)
    print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()

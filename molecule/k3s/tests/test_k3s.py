"""What an operator of K3s meets: restarts exactly when they are due, drift that is seen and put back, hardening that acts."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Server

from lab import bundle, component_flags

SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "molecule/k3s/vars/settings.yml").read_text())
STATE = "/var/lib/rancher/k3s"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "witness"},
    "spec": {
        "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "lab.local/base:1",
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}


def pid(server: Server) -> str:
    return server.run("systemctl show k3s --property MainPID --value").strip()


def converge(server: Server, *arguments: str) -> int:
    """Run the role; returns how many tasks changed something."""
    done = server.playbook("molecule/k3s/converge.yml", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"changed=(\d+)", done.stdout)[-1])


@pytest.fixture(scope="module")
def witness(server: Server) -> Iterator[None]:
    server.run(f"kubectl apply -f - <<'EOF'\n{json.dumps(POD)}\nEOF")
    server.run("kubectl wait --for=condition=Ready pod/witness --timeout=60s")
    yield
    server.run("kubectl delete pod witness --grace-period=0 --force")


def life(server: Server) -> tuple[str, str, int]:
    """When the witness was started, its container, and how often that was restarted."""
    status = server.json("pod witness")["status"]
    container = status["containerStatuses"][0]
    return status["startTime"], container["containerID"], container["restartCount"]


def test_the_known_flags_are_those_of_the_components(server: Server) -> None:
    """Else: python3 -m lab.component_flags"""
    flags = component_flags.known_to(Path(server.lab["bundle"]) / "bin/k3s")
    assert component_flags.TARGET.read_text() == component_flags.page(flags, bundle.K3S_VERSION.partition("+")[0])


def test_the_settings_that_refusals_name_are_in_force(server: Server, witness: None) -> None:
    node = server.json(f"node {SETTINGS['k3s_node_name']}")
    assert {"type": "InternalIP", "address": "192.168.77.5"} in node["status"]["addresses"]
    assert server.json("service kubernetes")["spec"]["clusterIP"] == "10.51.0.1"
    assert server.json("endpoints kubernetes")["subsets"][0]["addresses"] == [{"ip": "192.168.77.5"}]
    assert server.json("pod witness")["status"]["podIP"].startswith("10.50.0.")
    assert server.json("service kube-dns -n kube-system")["spec"]["clusterIP"] == "10.51.0.53"
    resolver = server.run("kubectl exec witness -- cat /etc/resolv.conf")
    assert "nameserver 10.51.0.53" in resolver and "corp.internal" in resolver
    ask = "kubectl exec witness -- nslookup kubernetes.default.svc.cluster.local"
    assert "Address: 10.51.0.1\n" in server.run(f"for i in $(seq 30); do {ask} && break; sleep 1; done")
    assert server.run("stat -c %a /var/lib/rancher/k3s/server").strip() == "700"
    limit = server.run("tr '\\0' '\\n' < /proc/$(systemctl show k3s -P MainPID)/environ | grep ^GOMEMLIMIT=").strip()
    assert limit == "GOMEMLIMIT=595MiB"  # seven tenths of the reserve


def test_a_cluster_keeps_its_networks_and_an_address_is_the_server_s(server: Server) -> None:
    before = pid(server)
    wrong = {**SETTINGS["k3s_config"], "cluster-cidr": ["10.60.0.0/16"], "node-ip": "192.168.78.5"}
    done = server.playbook("site.yml", "--tags", "preflight", "-e", json.dumps({"k3s_config": wrong}))
    said = " ".join(done.stdout.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert "k3s_config.cluster-cidr: the cluster was made with 10.50.0.0/16 and cannot change to 10.60.0.0/16" in said
    assert "k3s_config.node-ip: '192.168.78.5' is not an address of this server; use one of" in said
    assert pid(server) == before


def test_a_changed_node_label_restarts_k3s_once_and_pods_live_on(server: Server, witness: None) -> None:
    before, alive = pid(server), life(server)
    server.run("cp -p /etc/rancher/k3s/config.yaml /root/config.before")
    assert (
        converge(server, "-e", json.dumps({"k3s_config": {**SETTINGS["k3s_config"], "node-label": "tier=gold"}})) == 3
    )  # the file, the datastore's copy, the service
    assert pid(server) != before
    assert server.run("systemctl show k3s --property NRestarts --value").strip() == "0"  # it did not fall and was started again
    assert server.json("nodes")["items"][0]["metadata"]["labels"]["tier"] == "gold"
    assert life(server) == alive


def test_a_restart_that_an_interrupted_run_left_out_is_made_up_for(server: Server, witness: None) -> None:
    """The file is as the next run wants it, so that run has nothing to write; but the running process was started with another."""
    before, alive = pid(server), life(server)
    server.run("mv /root/config.before /etc/rancher/k3s/config.yaml")
    assert converge(server) == 2  # the datastore's copy, the service
    assert pid(server) != before
    assert life(server) == alive


def test_the_datastore_of_before_a_change_can_be_put_back(server: Server, witness: None) -> None:
    """By the commands of docs/k3s.md."""
    copies = server.run("ls /var/lib/shaka/k3s-datastore").split()
    assert len(copies) == 2
    alive = life(server)
    server.run("kubectl create configmap made-later")
    server.run(
        f"""systemctl stop k3s
        cd /var/lib/rancher/k3s/server && rm -f db/state.db-wal db/state.db-shm
        cp -a /var/lib/shaka/k3s-datastore/{copies[-1]}/db/state.db db/state.db
        systemctl start k3s && kubectl wait --for=condition=Ready node --all --timeout=60s"""
    )
    assert server.run("kubectl get configmap made-later --ignore-not-found") == ""
    assert life(server) == alive
    assert server.run("find /var/lib/shaka/k3s-datastore -perm /077") == ""


def test_drift_is_seen_left_alone_and_put_back_with_one_restart(server: Server, witness: None) -> None:
    drop_in, registries = "/etc/rancher/k3s/config.yaml.d/99-mine.yaml", "/etc/rancher/k3s/registries.yaml"
    server.run(
        f"""mkdir -p /etc/rancher/k3s/config.yaml.d && echo 'debug: false' > {drop_in} && echo 'mirrors: {{}}' > {registries}
        echo '# by hand' >> /etc/rancher/k3s/config.yaml && sed -i 's/^RestartSec=.*/RestartSec=60s/' /etc/systemd/system/k3s.service
        chmod 0644 /etc/rancher/k3s/audit-policy.yaml && systemctl daemon-reload && systemctl restart k3s
        kubectl wait --for=condition=Ready node --all --timeout=60s"""
    )
    shorten_certificate(server)
    before, sums = pid(server), f"sha256sum /etc/rancher/k3s/*.yaml {drop_in} /etc/systemd/system/k3s.service"
    drifted = server.run(sums)
    found = server.playbook("playbooks/drift.yml", "--tags", "k3s")
    assert found.returncode == 3, found.stdout + found.stderr
    report = (Path(server.lab["reports"]) / "drift.json").read_text()
    for word in ("config.yaml differs", "99-mine.yaml was there", "registries.yaml was there", "k3s.service differs", "client-admin.crt ends"):
        assert word in report, word
    assert (pid(server), server.run(sums)) == (before, drifted)

    converge(server)
    after = pid(server)
    assert after != before
    assert server.run(f"ls {drop_in}.disabled; ls {drop_in} {registries}", check=False).split() == [f"{drop_in}.disabled"]
    assert server.run("stat -c %a /etc/rancher/k3s/audit-policy.yaml").strip() == "600"
    assert server.run("systemctl show k3s --property RestartUSec --value").strip() == "5s"
    assert (
        server.run(f"openssl x509 -in {STATE}/server/tls/client-admin.crt -noout -checkend $((130 * 86400)) && echo renewed").split()[-1] == "renewed"
    )
    clean = server.playbook("playbooks/drift.yml", "--tags", "k3s")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert pid(server) == after


def shorten_certificate(server: Server) -> None:
    """Give the administrator a certificate that ends in 100 days, and K3s a start of before its last 120."""
    server.run(
        f"""cd {STATE}/server/tls && openssl req -new -key client-admin.key -subj '/O=system:masters/CN=system:admin' -out /tmp/admin.csr
        printf 'extendedKeyUsage=clientAuth\\n' > /tmp/admin.ext
        openssl x509 -req -in /tmp/admin.csr -CA client-ca.crt -CAkey client-ca.key -days 100 -extfile /tmp/admin.ext -out client-admin.crt
        touch -d '-30 days' /run/k3s-started-with"""
    )


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {
            "k3s_config": {"secret-encryption": True, "kubelet-arg": ["container-log-max-file=4"]},
            "k3s_registries": {"configs": {"mirror.lan": {"auth": {"pasword": "hunter2"}}}},
        },
        [
            "k3s_config.secret-encryption: K3s has no such key and would ignore it; did you mean 'secrets-encryption'?",
            "k3s_config.kubelet-arg: the component has no flag 'container-log-max-file' and would not start; did you mean 'container-log-max-files'?",
            "k3s_registries.configs.mirror.lan.auth.pasword: K3s knows username, password, auth, identity_token here and would ignore it",
        ],
    ),
    (
        {"k3s_environment": {"K3S_TOKEN": "hunter2"}},
        ["k3s_environment.K3S_TOKEN use a name of letters, digits and _; the K3S_ ones belong in k3s_config"],
    ),
]


@pytest.mark.parametrize(("bad", "says"), REFUSED, ids=["its own configuration", "its environment"])
def test_bad_input_is_refused_before_the_server_is_asked(server: Server, bad: dict[str, Any], says: list[str]) -> None:
    state = "systemctl show k3s --property MainPID --value; sha256sum /etc/rancher/k3s/*.yaml"
    before = server.run(state)
    done = server.playbook("site.yml", "--tags", "k3s", "-e", json.dumps(bad))
    assert done.returncode == 2, done.stdout + done.stderr
    assert [words for words in says if words not in " ".join(done.stdout.split())] == [], done.stdout
    assert "hunter2" not in done.stdout and "Gathering Facts" not in done.stdout
    assert server.run(state) == before


def test_a_secret_is_neither_in_the_datastore_nor_in_the_audit_log(server: Server) -> None:
    canary, name = secrets.token_hex(16), f"canary-{secrets.token_hex(4)}"
    server.run(
        f"kubectl create secret generic {name} --from-literal=value={canary}; kubectl create configmap {name} --from-literal=value=plain-{canary}"
    )
    assert server.run(f"grep -a -o -h '[a-z-]*{canary}' {STATE}/server/db/state.db* | sort -u").split() == [f"plain-{canary}"]
    server.run(f"kubectl get secret {name}")
    events = [json.loads(line) for line in server.run(f"grep {name} {STATE}/server/logs/audit.log").splitlines()]
    reads = [event for event in events if event["verb"] == "get" and event["objectRef"]["resource"] == "secrets"]
    assert [event["level"] for event in reads] == ["Metadata"] and reads[0]["user"]["username"] == "system:admin"
    assert canary not in str(events)
    server.run(f"kubectl delete secret,configmap {name}")


def test_watching_secrets_and_looking_into_a_pod_leave_a_trace(server: Server, witness: None) -> None:
    agent = f"canary-{secrets.token_hex(4)}"
    server.run("kubectl get --raw '/api/v1/namespaces/default/secrets?watch=true&timeoutSeconds=1'")
    server.run(f"kubectl exec witness -- echo {agent}")
    server.run("kubectl logs witness --tail=1")
    events = [json.loads(line) for line in server.run(f"tail -n 400 {STATE}/server/logs/audit.log").splitlines()]
    mine = [event for event in events if event["user"].get("username") == "system:admin" and "objectRef" in event]
    assert [event["level"] for event in mine if event["verb"] == "watch" and event["objectRef"]["resource"] == "secrets"]
    assert {"exec", "log"} <= {event["objectRef"].get("subresource") for event in mine}


def test_a_privileged_pod_is_refused_where_no_label_says_otherwise(server: Server) -> None:
    server.run("kubectl create namespace unlabelled")
    said = server.run("kubectl -n unlabelled run shell --image=lab.local/base:1 --privileged --command -- sleep 1 2>&1", check=False)
    assert 'violates PodSecurity "restricted:latest": privileged' in said
    server.run("kubectl delete namespace unlabelled --wait=false")


def test_a_flood_of_events_is_stopped(server: Server) -> None:
    """EventRateLimit: a burst of 250 in one namespace, then 25 a second."""
    event: dict[str, Any] = {"apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Flood"}
    event["involvedObject"] = {"kind": "Pod", "name": "x", "namespace": "default"}
    items = [{**event, "metadata": {"name": f"flood-{number}", "namespace": "default"}} for number in range(400)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    said = server.run(f"kubectl create -f - 2>&1 <<'EOF'\n{listed}\nEOF", check=False)
    created, stopped = said.count(" created"), said.count("limit reached")
    server.run("kubectl -n default delete events --all --wait=false")
    assert stopped > 0 and 250 <= created < 400, said[-500:]

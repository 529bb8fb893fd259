"""What the roles rely on K3s for. Each test names the page of docs.k3s.io that promises it, by title and path."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from reached import Server, eventually, pod

STATE = "/var/lib/rancher/k3s"
DROP_INS = "/etc/rancher/k3s/config.yaml.d"
KUBELET_DROP_INS = f"{STATE}/agent/etc/kubelet.conf.d"
POD_SECURITY = """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline}
    exemptions: {namespaces: [kube-system]}
- name: EventRateLimit
  configuration:
    apiVersion: eventratelimit.admission.k8s.io/v1alpha1
    kind: Configuration
    limits: [{type: Server, qps: 100, burst: 1000}]
"""
AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  resources: [{group: "", resources: [secrets]}]
- level: None
"""


def test_the_token_names_the_cluster_authority(server: Server) -> None:
    """k3s token (/cli/token): server/token is K10<sha256 of the CA>::server:<secret>; node-token is the same."""
    token = server.out(f"cat {STATE}/server/token")
    authority = hashlib.sha256(server.run(f"cat {STATE}/server/tls/server-ca.crt").stdout).hexdigest()
    assert token.startswith(f"K10{authority}::server:")
    assert server.out(f"cat {STATE}/server/node-token") == token
    assert server.out(f"stat -L -c %a {STATE}/server/token") == "600"


def test_certificates_can_be_checked(server: Server) -> None:
    """k3s certificate (/cli/certificate): a table with the certificates' names and status."""
    assert "client-admin.crt" in server.out("k3s certificate check --output table 2>&1")


def test_the_node_is_a_ready_control_plane(server: Server) -> None:
    """Architecture (/architecture): a server runs an agent too, and is registered as a node that takes pods."""
    node = json.loads(server.kubectl("get nodes -o json"))["items"][0]
    assert node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] == "true"
    assert not [taint for taint in node["spec"].get("taints", []) if taint["effect"] != "PreferNoSchedule"]
    assert {"type": "Ready", "status": "True"}.items() <= next(c for c in node["status"]["conditions"] if c["type"] == "Ready").items()


def test_secrets_are_encrypted_at_rest(server: Server) -> None:
    """Secrets Encryption (/security/secrets-encryption): a Secret's value is not in the datastore, and the status says so."""
    status = server.out("k3s secrets-encrypt status")
    if "Encryption Status: Enabled" not in status:
        pytest.skip("this server was installed without secrets-encryption")
    canary, name = secrets.token_hex(16), f"contract-{int(time.time())}"
    server.kubectl(f"-n default create secret generic {name} --from-literal=value={canary}-secret")
    server.kubectl(f"-n default create configmap {name} --from-literal=value={canary}-plain")
    found = server.out(f"cat {STATE}/server/db/state.db* | grep -a -o '{canary}-[a-z]*' | sort -u")
    server.kubectl(f"-n default delete secret,configmap {name}")
    assert found == f"{canary}-plain"


def test_the_datastore_is_kine_s_table(server: Server) -> None:
    """Cluster Datastore (/datastore): SQLite by default, in server/db; that it is kine's table is seen, not promised."""
    query = "SELECT count(*) FROM kine WHERE name = '/registry/namespaces/kube-system' AND deleted = 0 AND length(value) > 0"
    script = f"import sqlite3; print(sqlite3.connect('file:{STATE}/server/db/state.db?mode=ro', uri=True).execute({query!r}).fetchone()[0])"
    assert int(server.out("python3 -", script.encode())) >= 1


def test_nobody_is_refused(server: Server) -> None:
    """CIS Self Assessment (/security/self-assessment-2.1) 1.2.1, 4.2.1, 4.2.4: no anonymous access, no read-only port."""
    for url in ("https://127.0.0.1:6443/api/v1/namespaces", "https://127.0.0.1:10250/pods"):
        assert server.out(f"curl -s -k -o /dev/null -w '%{{http_code}}' {url}") == "401"
    assert not server.succeeds("curl -s --max-time 5 http://127.0.0.1:10255/")


def test_a_node_changes_only_itself(server: Server) -> None:
    """CIS Hardening Guide (/security/hardening-guide): the NodeRestriction admission controller is enabled by default."""
    node = server.kubectl("get nodes -o jsonpath={.items[0].metadata.name}")
    patch = """-X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"metadata": {"labels": {"contract": "x"}}}'"""
    other = "-H 'Impersonate-User: system:node:other' -H 'Impersonate-Group: system:nodes'"
    admin = "--cacert server-ca.crt --cert client-admin.crt --key client-admin.key"
    said = server.out(f"cd {STATE}/server/tls && curl -s {admin} {patch} {other} 'https://127.0.0.1:6443/api/v1/nodes/{node}?dryRun=All'")
    assert "is not allowed to modify node" in said


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.zst"])
def test_images_are_imported_while_running(server: Server, suffix: str) -> None:
    """Import Images (/add-ons/import-images): an archive put into agent/images of a running server is imported, and pinned."""
    reference = f"contract.local/{suffix.replace('.', '-')}-{secrets.token_hex(4)}:1"
    archive = image_archive(reference)
    if suffix == "tar.gz":
        archive = gzip.compress(archive)
    if suffix == "tar.zst":
        archive = subprocess.run(["zstd", "--quiet", "--stdout"], input=archive, stdout=subprocess.PIPE, check=True).stdout
    target = f"{STATE}/agent/images/contract.{suffix}"
    try:
        server.out(f"cat > {target}.partial && mv {target}.partial {target}", archive)
        eventually(lambda: "io.cri-containerd.pinned=pinned" in server.out(f"k3s ctr images ls | grep {reference}"))
    finally:
        server.run(f"rm -f {target}; k3s ctr images rm {reference}")


def image_archive(reference: str) -> bytes:
    """An image without content, as docker save writes it."""
    layer, out = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "name", reference.encode())
    digest = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest]}}
    with tarfile.open(fileobj=out, mode="w") as tar:
        add(tar, "layer.tar", layer.getvalue())
        add(tar, "config.json", json.dumps(config).encode())
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode())
    return out.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def test_names_of_services_resolve(server: Server, namespace: str) -> None:
    """Networking Services (/networking/networking-services), CoreDNS."""
    answer = eventually(lambda: server.in_pod(namespace, "client", "getent hosts kubernetes.default.svc.cluster.local").stdout.decode())
    assert answer.split()[0] == server.kubectl("-n default get service kubernetes -o jsonpath={.spec.clusterIP}")


def test_usage_is_measured(server: Server, namespace: str) -> None:
    """Managing Packaged Components (/installation/packaged-components): metrics-server is one of them."""
    assert "client" in eventually(lambda: server.kubectl(f"top pod -n {namespace} --no-headers"), 120)


def test_a_local_path_volume_is_bound_and_written(server: Server, namespace: str) -> None:
    """Volumes and Storage (/add-ons/storage), Local Storage Provider: bound with its first pod, a directory under storage/."""
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "resources": {"requests": {"storage": "16Mi"}}}
    image = server.kubectl(f"-n {namespace} get pod client -o jsonpath={{.spec.containers[0].image}}")
    writer = pod("writer", namespace, image, ["sh", "-c", "echo kept > /data/file; sleep infinity"])
    writer["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    writer["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    server.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace}, "spec": claim}, writer)
    server.kubectl(f"-n {namespace} wait --for=condition=Ready pod/writer --timeout=120s")
    volume = server.kubectl(f"-n {namespace} get pvc data -o jsonpath={{.spec.volumeName}}")
    assert eventually(lambda: server.out(f"cat {STATE}/storage/{volume}_{namespace}_data/file")) == "kept"


@dataclass
class Network:
    """Who reaches the web pod."""

    server: Server
    namespace: str

    def reaches(self, namespace: str) -> bool:
        address = self.server.kubectl(f"-n {self.namespace} get pod web -o jsonpath={{.status.podIP}}")
        script = f"perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => \"{address}:8080\", Timeout => 2)'"
        return bool(self.server.in_pod(namespace, "client", script).returncode == 0)

    def apply(self, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.server.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})

    def settles(self, *, own: bool, other: bool) -> None:
        eventually(lambda: (self.reaches(self.namespace), self.reaches(f"{self.namespace}-other")) == (own, other), 30)


def test_network_policies_are_enforced(server: Server, namespace: str) -> None:
    """Networking Services (/networking/networking-services), Network Policy Controller."""
    network = Network(server, namespace)
    network.settles(own=True, other=True)
    network.apply("deny", {"podSelector": {}, "policyTypes": ["Ingress"]})
    network.settles(own=False, other=False)
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "web"}]}
    network.apply("allow", {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [rule]})
    network.settles(own=True, other=False)
    network.apply("egress", {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]})
    network.settles(own=False, other=False)
    server.kubectl(f"-n {namespace} delete networkpolicy --all")
    network.settles(own=True, other=True)


def test_load_balancers_have_the_node_s_address(server: Server, namespace: str) -> None:
    """Networking Services (/networking/networking-services), Service Load Balancer: the node's address, which pods answer on."""
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "externalTrafficPolicy": "Local", "ports": [{"port": 18080, "targetPort": 8080}]}
    server.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": spec})
    address = eventually(lambda: server.kubectl(f"-n {namespace} get service web -o jsonpath={{.status.loadBalancer.ingress[0].ip}}"))
    assert address in server.kubectl("get nodes -o jsonpath={.items[0].status.addresses[*].address}").split()

    def ask() -> tuple[str, str] | None:
        try:
            with socket.create_connection((address, 18080), timeout=3) as connection:
                return connection.makefile().read().strip(), str(connection.getsockname()[0])
        except OSError:
            return None

    answer = eventually(ask)
    assert answer
    if server.host not in ("localhost", "127.0.0.1"):  # a node's own traffic is masqueraded
        assert answer[0] == answer[1]


@dataclass(frozen=True)
class Restart:
    before: str
    after: str
    log: str


def containers(server: Server, namespace: str) -> str:
    pods = json.loads(server.kubectl(f"-n {namespace} get pods -o json"))["items"]
    return str([(each["metadata"]["name"], each["status"]["containerStatuses"][0]["containerID"]) for each in pods])


@pytest.fixture(scope="module")
def restarted(server: Server, namespace: str) -> Iterator[Restart]:
    """The server after a restart with drop-ins and an administrator's certificate of 100 days; they are taken away again afterwards."""
    first = 'write-kubeconfig-mode: "0600"\ntls-san+: [one.contract.test]\ncontract-nonsense: true\n'
    second = 'write-kubeconfig-mode: "0640"\ntls-san+: [two.contract.test]\ndisable+: [metrics-server]\nnode-label+: [contract=two]\n'
    second += "kube-apiserver-arg+:\n- enable-admission-plugins=NodeRestriction,EventRateLimit\n"
    second += f"- admission-control-config-file={DROP_INS}/pod-security\n- audit-policy-file={DROP_INS}/audit\n"
    second += f"- audit-log-path={STATE}/server/logs/contract.log\n"
    kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncontainerLogMaxFiles: 7\n"
    before, since = containers(server, namespace), server.out("date '+%F %T'")
    server.out(f"mkdir -p {DROP_INS} && cat > {DROP_INS}/90-contract.yaml", first.encode())
    server.out(f"cat > {DROP_INS}/91-contract.yaml", second.encode())
    server.out(f"cat > {DROP_INS}/pod-security", POD_SECURITY.encode())
    server.out(f"cat > {DROP_INS}/audit", AUDIT.encode())
    server.out(f"cat > {KUBELET_DROP_INS}/90-contract.conf", kubelet.encode())
    server.out(
        f"""cd {STATE}/server/tls && openssl req -new -key client-admin.key -subj '/O=system:masters/CN=system:admin' -out /tmp/contract.csr &&
        printf 'extendedKeyUsage=clientAuth\\n' > /tmp/contract.ext &&
        openssl x509 -req -in /tmp/contract.csr -CA client-ca.crt -CAkey client-ca.key -days 100 -extfile /tmp/contract.ext -out client-admin.crt"""
    )
    try:
        server.out("systemctl restart k3s")
        server.kubectl("get nodes")  # the service is ready when systemctl returns
        yield Restart(before, containers(server, namespace), server.out(f"journalctl -u k3s --since '{since}' --no-pager"))
    finally:
        server.out(f"rm -rf {DROP_INS}/9[01]-contract.yaml {DROP_INS}/pod-security {DROP_INS}/audit {KUBELET_DROP_INS}/90-contract.conf")
        server.run(f"systemctl restart k3s; k3s kubectl label nodes --all contract-; rm -f {STATE}/server/logs/contract.log")


def test_an_unknown_key_is_skipped_with_a_log_line(restarted: Restart) -> None:
    """Configuration Options (/installation/configuration); that it is skipped is seen, not promised."""
    assert "Unknown flag --contract-nonsense found in config.yaml, skipping" in restarted.log


def test_drop_ins_are_merged_by_name(server: Server, restarted: Restart) -> None:
    """Configuration Options (/installation/configuration), Multiple Config Files: the last value counts, `key+` appends."""
    assert server.out("stat -c %a /etc/rancher/k3s/k3s.yaml") == "640"
    ask = f"curl -s -o /dev/null --cacert {STATE}/server/tls/server-ca.crt --connect-to ::127.0.0.1:6443"
    eventually(lambda: server.succeeds(f"{ask} https://one.contract.test:6443/ && {ask} https://two.contract.test:6443/"), 20)
    assert not server.succeeds(f"{ask} https://three.contract.test:6443/")


def test_a_restart_leaves_containers_alone(restarted: Restart) -> None:
    """Stopping K3s (/upgrades/killall): containers continue to run when the service stops."""
    assert restarted.after == restarted.before != "[]"


def test_a_disabled_component_is_uninstalled(server: Server, restarted: Restart) -> None:
    """Managing Packaged Components (/installation/packaged-components), Using the --disable flag."""
    eventually(lambda: not server.succeeds("k3s kubectl -n kube-system get deployment metrics-server"), 90)


def test_a_changed_node_label_is_given_to_the_node(server: Server, restarted: Restart) -> None:
    """k3s agent (/cli/agent) promises labels at registration only; that each start gives them is seen (pkg/agent/run.go)."""
    eventually(lambda: "two" in server.kubectl("get nodes -L contract"), 30)


def test_kubelet_drop_ins_are_in_force(server: Server, restarted: Restart) -> None:
    """Configuration Options (/installation/configuration), Kubelet configuration."""
    node = server.kubectl("get nodes -o jsonpath={.items[0].metadata.name}")
    running = eventually(lambda: json.loads(server.kubectl(f"get --raw /api/v1/nodes/{node}/proxy/configz")), 30)
    assert running["kubeletconfig"]["containerLogMaxFiles"] == 7


def test_a_certificate_s_last_120_days_end_with_a_start(server: Server, restarted: Restart) -> None:
    """k3s certificate (/cli/certificate): certificates within 120 days of expiring are renewed every time K3s starts."""
    server.out(f"openssl x509 -in {STATE}/server/tls/client-admin.crt -noout -checkend $((360 * 86400))")


def test_pod_security_defaults_and_the_audit_log_are_in_force(server: Server, restarted: Restart) -> None:
    """CIS Hardening Guide (/security/hardening-guide), Pod Security and API Server audit configuration."""
    said = server.run("k3s kubectl -n default run contract --image=none.invalid/none --privileged --dry-run=server").stderr.decode()
    assert 'violates PodSecurity "baseline:latest"' in said
    name = f"contract-{secrets.token_hex(4)}"
    server.run(f"k3s kubectl -n default get secret {name}")
    event = json.loads(eventually(lambda: server.out(f"grep {name} {STATE}/server/logs/contract.log"), 10).splitlines()[-1])
    assert (event["level"], event["verb"], event["objectRef"]["resource"]) == ("Metadata", "get", "secrets")

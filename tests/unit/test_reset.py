"""What belongs to a platform on a server, told from what does not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.conventions import user_of_connection
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger, reset, traces
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy, alone
from ansible_collections.shaka.platform.plugins.modules import reset_server


@pytest.mark.parametrize(
    ("program", "groups", "expected"),
    [
        ("/usr/local/bin/k3s", "0::/system.slice/k3s.service\n", True),
        ("/var/lib/rancher/k3s/data/ab12/bin/containerd-shim-runc-v2", "0::/system.slice/k3s.service\n", True),
        ("/usr/lib/postgresql/15/bin/postgres", "1:cpu:/\n0::/kubepods/burstable/pod1/abc\n", True),
        ("/pause", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n", True),
        ("/usr/lib/postgresql/15/bin/postgres", "0::/system.slice/postgresql.service\n", False),
        ("/usr/bin/containerd-shim-runc-v2", "0::/system.slice/docker.service\n", False),
        ("/usr/local/bin/k9s", "0::/user.slice\n", False),
    ],
)
def test_only_k3s_and_its_containers_are_ended(program: str, groups: str, expected: bool) -> None:
    assert traces.is_platforms(program, groups) is expected


def test_the_deepest_and_latest_mounts_go_first_and_the_servers_own_stay() -> None:
    text = (
        "/dev/vda / ext4 rw 0 0\n/dev/vdb /var/lib/rancher ext4 rw 0 0\n/dev/vdc /var/lib/rancher/k3s/storage ext4 rw 0 0\n"
        "tmpfs /var/lib/kubelet/pods/1/volumes/a\\040b tmpfs rw 0 0\nnsfs /run/netns/cni-1 nsfs rw 0 0\nnsfs /run/netns/vpn nsfs rw 0 0\n"
        "overlay /var/lib/kubelet overlay rw 0 0\noverlay /run/k3s/containerd/task/rootfs overlay rw 0 0\n"
        "shm /run/k3s/containerd/task/rootfs/dev/shm tmpfs rw 0 0\n"
    )
    pods = ["/run/k3s/containerd/task/rootfs/dev/shm", "/run/k3s/containerd/task/rootfs"]
    volumes = ["/run/netns/cni-1", "/var/lib/kubelet/pods/1/volumes/a b"]
    assert traces.mounts(text, "# none\n") == [*pods, "/var/lib/kubelet", *volumes]
    assert traces.mounts(text, "UUID=1 /var/lib/kubelet ext4 defaults 0 2\n") == [*pods, *volumes]


def test_only_the_clusters_rules_are_taken_out() -> None:
    saved = (
        "*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n"
        '*nat\n:CNI-1a2b - [0:0]\n-A POSTROUTING -s 10.42.0.5/32 -m comment --comment "name: \\"cbr0\\"" -j CNI-1a2b\nCOMMIT\n'
    )
    assert traces.foreign_rules(saved) == "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n*nat\nCOMMIT\n"
    assert traces.has_rules(saved)
    assert not traces.has_rules(traces.foreign_rules(saved))


@pytest.mark.parametrize(
    ("listing", "hollow"),
    [
        ("table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n", True),
        ("table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n", False),
        (
            "table ip nat {\n\tchain PREROUTING {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\ttcp dport 80 accept\n\t}\n}\n",
            False,
        ),
    ],
)
def test_only_a_table_that_does_nothing_is_hollow(listing: str, hollow: bool) -> None:
    assert traces.is_hollow_table(listing) is hollow


def test_interfaces_are_the_pods_ends_then_the_bridge(tmp_path: Path) -> None:
    for name in ("lo", "eth0", "docker0", "cni0", "veth1", "veth2"):
        (tmp_path / name).mkdir()
    (tmp_path / "veth1/master").symlink_to(tmp_path / "cni0")
    (tmp_path / "veth2/master").symlink_to(tmp_path / "docker0")
    assert traces.interfaces(tmp_path) == ["veth1", "cni0"]


def test_a_volume_is_named_by_its_claim_and_has_its_size(tmp_path: Path) -> None:
    folder = tmp_path / "pvc-1b_shaka-prod_postgres-pvc"
    folder.mkdir()
    (folder / "data").write_bytes(os.urandom(1 << 16))
    assert [(volume.claim, volume.size >= 1 << 16) for volume in traces.volumes(tmp_path)] == [("shaka-prod/postgres-pvc", True)]


def test_the_latest_backup_of_a_volume_counts() -> None:
    def item(name: str, namespace: str, **status: str) -> dict[str, object]:
        return {"metadata": {"name": name, "namespace": namespace}, "status": status}

    found = [
        item("postgres-backup", "prod", lastSuccessfulTime="2026-11-22T02:00:00Z"),
        item("postgres-backup-2026", "prod", completionTime="2026-11-22T09:30:00Z"),
        item("postgres-backup", "dev"),
        item("redis-backup", "prod", lastSuccessfulTime="2026-11-21T02:00:00Z"),
        item("other", "staging", completionTime="2026-11-22T09:30:00Z"),
    ]
    last = {"prod/postgres-pvc": "2026-11-22T09:30:00Z", "prod/redis-pvc": "2026-11-21T02:00:00Z", "dev/postgres-pvc": ""}
    assert traces.last_backups(found) == last


@pytest.mark.parametrize(
    ("backups", "words"),
    [
        ({"prod/postgres-pvc": "2026-11-22T02:00:00Z"}, "last backup 2026-11-22T02:00:00Z"),
        ({"prod/postgres-pvc": ""}, "NEVER BACKED UP"),
        ({"prod/redis-pvc": "2026-11-22T02:00:00Z"}, "has no backup job"),
        (None, "last backup: not known, the cluster does not answer"),
    ],
)
def test_what_would_be_lost_is_said(backups: dict[str, str] | None, words: str) -> None:
    assert reset_server.loss("prod/postgres-pvc (40 MiB)", backups) == words


def test_a_tree_goes_but_for_what_is_spared(tmp_path: Path) -> None:
    tree = tmp_path / "k3s"
    for name in ("server/tls", "agent", "storage/pvc-1"):
        (tree / name).mkdir(parents=True)
    (tree / "storage/pvc-1/data").write_text("rows")
    (tree / "agent/link").symlink_to(tree / "storage/pvc-1/data")
    reset.remove_tree(tree, spare=str(tree / "storage"))
    assert [path.name for path in tree.iterdir()] == ["storage"]
    assert (tree / "storage/pvc-1/data").read_text() == "rows"
    reset.remove_tree(tree)
    assert not tree.exists()
    reset.remove_tree(tree)


def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """K3s's directory in which storage leads to a larger disk; and that disk."""
    tree, disk = tmp_path / "k3s", tmp_path / "disk"
    tree.mkdir()
    for name in ("pvc-1_shaka-prod_data-postgres-0", "photos"):
        (disk / name).mkdir(parents=True)
        (disk / name / "file").write_text("rows")
    (tree / "storage").symlink_to(disk)
    monkeypatch.setattr(reset, "LINKED", dict(zip((str(tree), str(tree / "storage")), reset.LINKED.values(), strict=True)))
    return tree, disk


def test_volumes_behind_a_link_go_and_what_else_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, disk = linked(tmp_path, monkeypatch)
    reset.remove_tree(tree, spare=str(tree / "storage"))
    assert (disk / "pvc-1_shaka-prod_data-postgres-0/file").exists() and (tree / "storage").is_symlink()
    reset.remove_tree(tree)
    assert [path.name for path in disk.iterdir()] == ["photos"] and not tree.exists()


def test_a_directory_of_k3s_that_is_a_link_loses_what_is_k3s_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, disk = tmp_path / "k3s", tmp_path / "disk"
    for name in ("server", "agent", "storage/pvc-1_shaka-prod_data", "others"):
        (disk / name).mkdir(parents=True)
    link.symlink_to(disk)
    monkeypatch.setattr(reset, "LINKED", dict(zip((str(link), str(link / "storage")), reset.LINKED.values(), strict=True)))
    reset.remove_tree(link, spare=str(link / "storage"))
    assert sorted(path.name for path in disk.iterdir()) == ["others", "storage"] and (disk / "storage/pvc-1_shaka-prod_data").is_dir()
    reset.remove_tree(link)
    assert [path.name for path in disk.iterdir()] == ["others"] and not link.is_symlink()


def test_other_machines_files_and_other_links_refuse_a_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, disk, table = tmp_path / "tree", tmp_path / "disk", tmp_path / "mounts"
    (disk / "share").mkdir(parents=True)
    tree.symlink_to(disk)
    table.write_text(
        f"/dev/vda / ext4 rw 0 0\nnas:/x {disk}/share nfs4 rw 0 0\nnas:/y {tmp_path}/elsewhere nfs rw 0 0\n/dev/vdb {disk} ext4 rw 0 0\n"
    )
    monkeypatch.setattr(reset, "TREES", (str(tree),))
    monkeypatch.setattr(reset, "MOUNTED", table)
    server = reset.Installation(lambda *_a, **_k: (1, "", ""), reset.Kept(False, True), [], "root")
    with pytest.raises(reset.NotOurs) as refused:
        server.refuse_what_is_not_ours([])
    said = str(refused.value)
    assert f"{tree} is a link to {disk}" in said and f"{disk}/share is mounted from another machine" in said and "elsewhere" not in said
    tree.unlink()
    tree.mkdir()
    (tree / "share").mkdir()
    table.write_bytes(f"nas:/x {tree}/share fuse.sshfs rw 0 0\nnas:/y /srv/m\xfasica nfs rw 0 0\n".encode("latin-1"))
    with pytest.raises(reset.NotOurs, match="reset_mounts"):
        server.refuse_what_is_not_ours([])
    server.refuse_what_is_not_ours([f"{tree}/share"])


def test_a_unit_that_was_masked_is_not_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda path: os.devnull if path.endswith("zramswap.service") else path)
    server = reset.Installation(lambda *_a, **_k: (1, "", ""), reset.Kept(False, True), [], "root")
    ours = ["/etc/systemd/system/zramswap.service", "/etc/systemd/system/shaka-notify.timer"]
    assert server.units(ours) == ["shaka-notify.timer", *reset.UNITS]


@pytest.mark.parametrize(("target", "refused"), [("private/notify", False), ("/srv/notify", True), ("private/other", True)])
def test_systemds_own_link_to_a_units_state_is_removed_and_another_is_refused(
    target: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "notify"
    link.symlink_to(target)
    monkeypatch.setattr(reset, "TREES", (str(link),))
    monkeypatch.setattr(reset, "OWN_LINKS", {str(link): "private/notify"})
    installation = reset.Installation(lambda *_given, **_named: (0, "", ""), reset.Kept(data=False, ssh=False), [], "")
    if refused:
        with pytest.raises(reset.NotOurs, match="is a link to"):
            installation.refuse_what_is_not_ours([])
        return
    installation.refuse_what_is_not_ours([])
    reset.remove_tree(link)
    assert not os.path.lexists(link)


def test_a_mount_below_a_link_is_the_platform_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk/kubelet").mkdir(parents=True)
    (tmp_path / "kubelet").symlink_to(tmp_path / "disk/kubelet")
    monkeypatch.setattr(traces, "KUBELET", f"{tmp_path}/kubelet")
    monkeypatch.setattr(traces, "MOUNTS", (f"{tmp_path}/kubelet/",))
    pod = f"{tmp_path}/disk/kubelet/pods/1/volumes/secret"
    assert traces.mounts(f"tmpfs {pod} tmpfs rw 0 0\ntmpfs {tmp_path}/disk/other tmpfs rw 0 0\n", "") == [pod]


@pytest.mark.parametrize(
    ("name", "ours"),
    [("KUBE-SRC-ABC", True), ("inet6:KUBE-DST-ABC", True), ("kube-router-local-ips", True), ("inet6:kube-router-x", True), ("f2b-sshd", False)],
)
def test_address_sets_of_kube_router(name: str, ours: bool) -> None:
    assert bool(traces.ADDRESS_SET.match(name)) is ours


def test_a_program_that_only_k3s_brought_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = tmp_path / "data/ab12/bin/aux"
    bundled.mkdir(parents=True)
    (bundled / "ipset").write_text("#!/bin/sh\n")
    (bundled / "ipset").chmod(0o755)
    monkeypatch.setattr(traces, "K3S", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert reset.tool("ipset") == str(bundled / "ipset")
    assert reset.tool("iptables-save") is None


def test_a_control_group_that_systemd_removed_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope"
    group.mkdir(parents=True)
    held, rmdir = [1], Path.rmdir

    def slowly(path: Path) -> None:
        if path == group:
            rmdir(path)
            raise FileNotFoundError(path)
        if path == group.parent and held:
            held.clear()
            raise OSError(errno.EBUSY, "busy")
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", slowly)
    reset.remove_group(tmp_path / "kubepods.slice")
    assert list(tmp_path.iterdir()) == [] and held == []


@pytest.mark.parametrize("variables", [{"SUDO_USER": "ops"}, {"DOAS_USER": "ops", "LOGNAME": "root"}, {"LOGNAME": "ops"}])
def test_the_account_of_the_connection_is_known_however_it_became_root(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("SUDO_USER", "DOAS_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert user_of_connection() == "ops"


def test_the_account_of_the_connection_is_never_removed() -> None:
    with pytest.raises(reset_server.ResetRefused, match="reset_users has ops"):
        reset_server.refuse_own_account("ops", ["ops"])
    reset_server.refuse_own_account("root", ["ops"])


def test_packages_alone_are_listed_and_need_the_servers_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server without the platform, too: it may be another one than was meant."""
    monkeypatch.setattr(reset.Installation, "listing", lambda _self: {"files": [], "volumes": []})
    monkeypatch.setattr(ledger, "load", dict)
    states = {"nginx": "installed\n", "exim4": "config-files\n", "gone": "not-installed\n"}

    def execute(command: list[str], **_: object) -> tuple[int, str, str]:
        return (0, states[command[-1]], "") if command[-1] in states else (1, "", "no packages found")

    params = {"list_only": True, "names": ["one"], "confirm": "", "keep_data": False, "keep_ssh": True, "mounts": [], "users": []}
    params |= {"packages": ["nginx", "exim4", "gone", "unknown"]}
    listed = reset_server.run(params, False, execute)
    assert listed["question"] and listed["found"]["packages"] == ["nginx", "exim4"]
    assert ["packages", "2", "nginx, exim4"] in listed["platform_table"][0]["rows"]
    with pytest.raises(reset_server.ResetRefused, match="nothing was removed"):
        reset_server.run({**params, "list_only": False}, False, execute)
    assert reset_server.run({**params, "list_only": False, "confirm": "one"}, False, execute)["changed"]
    assert not reset_server.run({**params, "packages": ["gone"]}, False, execute)["question"]


def test_one_reset_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path, reset_server.BUSY), pytest.raises(Busy, match="another reset"), alone(tmp_path, reset_server.BUSY):
        pytest.fail("two resets at once")

"""What the everyday commands say of memory: the kernel's counters as it has them, and which value of the inventory does not fit them."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import everyday_server as given
import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday import memory, remote, status
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday.memory import MEBI, Used

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "a" * 64, "b" * 64
# The container's folder: the kubelet's driver systemd, and cgroupfs
FOLDERS = [f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{FIRST}.scope", f"kubepods/burstable/pod1/{FIRST}"]
NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)


def counters(root: Path, folder: str, now: int, peak: int | None, cache: int) -> str:
    """What the command prints of a container, in MiB; its pod's own folder and one that the container made have counters as well."""
    for place in (folder, str(Path(folder).parent), f"{folder}/init.scope"):
        (root / place).mkdir(parents=True, exist_ok=True)
        factor = MEBI if place == folder else 7 * MEBI
        (root / place / "memory.current").write_text(f"{now * factor}\n")
        (root / place / "memory.stat").write_text(f"anon {now * factor}\nfile {(cache + 1) * factor}\nkernel 12\nshmem {factor}\nfile_mapped 3\n")
        if peak is not None:
            (root / place / "memory.peak").write_text(f"{peak * factor}\n")
    command = [word.replace("/sys/fs/cgroup", str(root)) for word in memory.COMMAND]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_kernel_s_counters_are_found_by_the_container(tmp_path: Path, folder: str) -> None:
    assert memory.used(counters(tmp_path, folder, 40, 90, 20)) == {FIRST: Used(40 * MEBI, 90 * MEBI, 20 * MEBI)}


def test_an_older_kernel_has_no_peak(tmp_path: Path) -> None:
    assert memory.used(counters(tmp_path, FOLDERS[0], 40, None, 20)) == {}


def test_the_playbook_asks_as_the_command_does() -> None:
    (play,) = [each for each in yaml.safe_load((ROOT / "playbooks/status.yml").read_text()) if "tasks" in each]
    (asked,) = [task["ansible.builtin.command"]["argv"] for task in play["tasks"] if "ansible.builtin.command" in task]
    assert asked == list(memory.COMMAND) and remote.counters()[2].endswith("|| true")


@pytest.mark.parametrize(
    ("request_", "limit", "taken", "killed", "hours", "instead"),
    [
        (64, 256, (80, 100, 0), False, 100, {}),
        (64, 128, (80, 120, 0), False, 1, {"limits.memory": 192}),  # 94 % of the limit
        (64, 128, (120, 128, 60), False, 100, {}),  # it is page cache, which is given back
        (64, 128, (20, 30, 0), True, 1, {"limits.memory": 192}),  # it was killed, and has just started again
        (16, 256, (60, 100, 0), False, 1, {"requests.memory": 112}),
        (64, 1024, (60, 100, 0), False, 100, {"limits.memory": 208}),
        (64, 1024, (60, 100, 0), False, 1, {}),  # an hour tells nothing
        (512, 1024, (60, 100, 0), False, 100, {}),  # the limit is not far from what it asks for
        (64, 0, (60, 100, 0), False, 100, {}),
    ],
)
def test_what_to_set_instead(request_: int, limit: int, taken: tuple[int, int, int], killed: bool, hours: float, instead: dict[str, int]) -> None:
    used = Used(*(number * MEBI for number in taken))
    wanted = memory.advice(request_ * MEBI, limit * MEBI, used, killed, hours)
    assert {key: number // MEBI for key, number in wanted} == instead


@pytest.mark.parametrize(
    ("quantity", "size"), [("128Mi", 128 * MEBI), ("1.5Gi", 1536 * MEBI), ("500M", 500_000_000), ("1024", 1024), ("", 0), (None, 0), ("1e9", 0)]
)
def test_quantities_are_read_as_the_api_server_writes_them(quantity: object, size: int) -> None:
    assert memory.size(quantity) == size


def pod(container: str, started: str, **last: Any) -> dict[str, Any]:
    made = given.pod("shaka-api")
    made["status"]["containerStatuses"] = [
        {"containerID": f"containerd://{container}", "state": {"running": {"startedAt": started}}, "lastState": last}
    ]
    return made


def test_the_table_has_the_pod_that_takes_most_and_names_the_variable(tmp_path: Path) -> None:
    api = given.workload("Deployment", "shaka-api", 2, 2)
    api["metadata"]["annotations"] = {"shaka.platform/inventory": "platform_environments.prod.api"}
    api["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    items = [api, pod(FIRST, "2026-03-03T11:00:00Z"), pod(SECOND, "2026-03-03T11:00:00Z"), given.workload("StatefulSet", "postgres", 1, 0)]
    text = counters(tmp_path, FOLDERS[0], 40, 90, 20) + counters(tmp_path / "2", FOLDERS[1].replace(FIRST, SECOND), 100, 126, 4)
    environments = {"prod": {"namespace": "shaka-prod"}}
    shown = status.status(items, "shaka", environments, text, NOW).split("\n\n")[1]
    assert [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in shown.splitlines()] == [
        ["environment", "app", "memory requested", "limit", "now", "peak", "set instead"],
        ["prod", "api", "64Mi", "128Mi", "100Mi", "126Mi", "platform_environments.prod.api.limits.memory: 192Mi"],
        ["prod", "postgres"],
    ]
    assert "counts no peak" in status.status(items, "shaka", environments, "", NOW)
    assert "\n\n" not in status.status(items, "shaka", environments)

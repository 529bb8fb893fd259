"""Modules, sysctls and swap of the running kernel."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger, swap
from ansible_collections.shaka.platform.plugins.modules import kernel_settings

UUID = "UUID=0a1b /      ext4 defaults 0 1\n"


def refuse(command: list[str]) -> tuple[int, str, str]:
    return 1, "", f"bad line in {command[-1]}"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    for path, text in {
        "proc/filesystems": "nodev\toverlay\n\text4\n",
        "proc/sys/kernel/panic": "0\n",
        "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
        "proc/sys/net/bridge/bridge-nf-call-iptables": "1\n",
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
        "proc/meminfo": "MemTotal: 2048000 kB\nMemAvailable:  1024000 kB\n",
        "etc/fstab": UUID,
        "etc/systemd/system/other.swap": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def params(**given: Any) -> dict[str, Any]:
    return {"modules": [], "sysctls": {}, "hardening": {}, "swap_off": False, **given}


def test_only_what_differs_is_set(kernel: Path) -> None:
    given = params(modules=["overlay", "br_netfilter"], sysctls={"kernel.panic": "10", "net.ipv4.ip_local_port_range": "32768 60999"})
    assert kernel_settings.run(given, True, refuse, kernel)["differing"] == ["kernel.panic=10"]
    assert (kernel / "proc/sys/kernel/panic").read_text() == "0\n"
    assert kernel_settings.run(given, False, refuse, kernel)["diff"] == {"before": "kernel.panic=0\n", "after": "kernel.panic=10\n"}
    assert kernel_settings.run(given, False, refuse, kernel)["changed"] is False


def test_what_the_kernel_lacks_is_named(kernel: Path) -> None:
    with pytest.raises(kernel_settings.KernelError, match="module wireguard: neither loaded, built in nor loadable"):
        kernel_settings.run(params(modules=["wireguard"]), False, refuse, kernel)
    assert len(kernel_settings.run(params(modules=["wireguard"], sysctls={"vm.nothing": "1"}), True, refuse, kernel)["differing"]) == 2
    with pytest.raises(kernel_settings.KernelError, match=r"vm\.nothing: this kernel has no such setting"):
        kernel_settings.run(params(sysctls={"vm.nothing": "1"}), False, refuse, kernel)


@pytest.mark.parametrize("check_mode", [True, False])
def test_hardening_that_the_kernel_lacks_is_left_out_and_said(kernel: Path, check_mode: bool) -> None:
    result = kernel_settings.run(params(hardening={"kernel.yama.ptrace_scope": "1"}), check_mode, refuse, kernel)
    assert result["changed"] is False
    assert result["skipped_settings"] == ["sysctl kernel.yama.ptrace_scope: this kernel has no such setting"]


def record(ran: list[str], kernel: Path) -> Any:
    def execute(command: list[str]) -> tuple[int, str, str]:
        ran.append(" ".join(command))
        if command[0] == "swapoff":
            (kernel / "proc/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n")
        return 0, "dev-sda2.swap\n" if command[0] == "systemd-escape" else "", ""

    return execute


def test_swap_goes_now_and_at_boot(kernel: Path) -> None:
    (kernel / "etc/fstab").write_text(UUID + "/dev/sda2 none swap sw 0 0\n# /old none swap sw 0 0\n")
    (kernel / "proc/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 2097148\t1024 -2\n")
    for path in (swap.ZRAM_GENERATOR, Path("usr/lib/systemd/system") / swap.ZRAM_SERVICE):
        (kernel / path).parent.mkdir(parents=True, exist_ok=True)
        (kernel / path).touch()
    ran: list[str] = []
    assert len(kernel_settings.run(params(swap_off=True), True, record(ran, kernel), kernel)["differing"]) == 4
    assert ran == [] and swap.MARK not in (kernel / "etc/fstab").read_text()
    kernel_settings.run(params(swap_off=True), False, record(ran, kernel), kernel)
    assert "swapoff /dev/sda2" in ran and f"systemctl stop {swap.ZRAM_SERVICE}" in ran
    units = kernel / swap.UNITS
    assert [str((units / unit).readlink()) for unit in ("dev-sda2.swap", swap.ZRAM_SERVICE)] == ["/dev/null", "/dev/null"]
    assert (kernel / "etc/fstab").read_text() == UUID + f"{swap.MARK}/dev/sda2 none swap sw 0 0\n# /old none swap sw 0 0\n"
    assert (kernel / swap.ZRAM_CONFIGURATION).read_text() == ""
    assert kernel_settings.run(params(swap_off=True), False, record(ran, kernel), kernel)["changed"] is False


def test_a_unit_of_the_owners_own_goes_and_a_reset_brings_it_back(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "remember", partial(ledger.remember, ledger=kernel / "ledger.json"))
    monkeypatch.setattr(ledger, "belongs", lambda _path: True)
    unit = kernel / swap.UNITS / "dev-sda2.swap"
    unit.write_text("[Swap]\nWhat=/a swap\n")
    (kernel / "proc/swaps").write_text("Filename Type Size Used Priority\n/a\\040swap file 2097148 0 -2\n")
    ran: list[str] = []
    kernel_settings.run(params(swap_off=True), False, record(ran, kernel), kernel)
    assert str(unit.readlink()) == "/dev/null" and ran[-1] == "swapoff /a swap"
    for path, before in ledger.load(kernel / "ledger.json").items():
        ledger.bring_back(Path(path), before)
    assert not unit.is_symlink() and unit.read_text() == "[Swap]\nWhat=/a swap\n"


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_an_fstab_in_any_coding_keeps_its_bytes(kernel: Path, coding: str) -> None:
    (kernel / "etc/fstab").write_bytes("LABEL=m\xfasica /m\xfasica ext4 defaults 0 1\n/swap none swap sw 0 0\n".encode(coding))
    kernel_settings.run(params(swap_off=True), False, record([], kernel), kernel)
    expected = f"LABEL=m\xfasica /m\xfasica ext4 defaults 0 1\n{swap.MARK}/swap none swap sw 0 0\n"
    assert (kernel / "etc/fstab").read_bytes() == expected.encode(coding)


def test_swap_in_use_beyond_memory_is_refused(kernel: Path) -> None:
    (kernel / "proc/swaps").write_text("Filename Type Size Used Priority\n/swap file 4194300 2048000 -2\n")
    ran: list[str] = []
    with pytest.raises(swap.SwapError, match="2000 MiB are swapped out but only 1000 MiB of memory are available"):
        kernel_settings.run(params(swap_off=True), False, record(ran, kernel), kernel)
    assert ran == []


def test_a_container_leaves_its_hosts_swap_alone(kernel: Path) -> None:
    (kernel / "proc/swaps").write_text("Filename Type Size Used Priority\n/swap file 4194300 0 -2\n")
    (kernel / "run/systemd").mkdir(parents=True)
    (kernel / "run/systemd/container").write_text("podman")
    result = kernel_settings.run(params(swap_off=True), False, refuse, kernel)
    assert result["changed"] is False and "container" in result["skipped_settings"][0]

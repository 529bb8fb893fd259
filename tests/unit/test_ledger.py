"""What reset takes back: remembered before the first write, brought back exactly."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger, whole
from ansible_collections.shaka.platform.plugins.module_utils.server.ledger import bring_back, remember, state


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/sysctl.d/90-shaka.conf", True),
        ("/usr/local/bin/k3s", True),
        ("/home/operator/.ssh/authorized_keys", True),
        ("/etc/rancher/k3s/config.yaml", False),
        ("/etc/shaka/firewall.nft", False),
        ("/var/lib/shaka/artifacts.json", False),
        ("/etcetera", False),
    ],
)
def test_only_shared_directories_are_listed(path: str, expected: bool) -> None:
    assert ledger.belongs(path) is expected


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that counts as one that others use, too."""
    monkeypatch.setattr(ledger, "SHARED", (f"{tmp_path}/etc/",))
    (tmp_path / "etc").mkdir()
    return tmp_path


def test_the_first_state_is_kept_and_not_the_platforms_own(shared: Path) -> None:
    file, listing = shared / "etc/crontab", shared / "manifest.json"
    file.write_text("theirs\n")
    remember(file, listing)
    file.write_text("ours\n")
    remember(file, listing)
    bring_back(file, json.loads(listing.read_text())[str(file)])
    assert file.read_text() == "theirs\n"


def test_a_candidate_stands_for_its_file(shared: Path) -> None:
    listing = shared / "manifest.json"
    remember(shared / "etc/a.conf.shaka-candidate", listing)
    assert ledger.load(listing) == {str(shared / "etc/a.conf"): None}
    assert listing.stat().st_mode & 0o777 == 0o600


def test_of_a_file_whose_permissions_alone_are_ours_the_owners_later_lines_stay(shared: Path) -> None:
    file, listing = shared / "etc/crontab", shared / "manifest.json"
    file.write_text("theirs\n")
    file.chmod(0o644)
    remember(file, listing)  # as an earlier version did
    remember(file, listing, content=False)
    file.chmod(0o600)
    file.write_text("theirs\nadded later\n")
    bring_back(file, ledger.load(listing)[str(file)])
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("theirs\nadded later\n", 0o644)
    file.unlink()
    bring_back(file, ledger.load(listing)[str(file)])
    assert not file.exists()


def test_of_a_file_with_marked_lines_the_marks_go_and_the_owners_later_lines_stay(shared: Path) -> None:
    file, listing = shared / "etc/fstab", shared / "manifest.json"
    file.write_text("/dev/vda1 / ext4\n/swap none swap\n")
    remember(file, listing, mark="# off: ")
    file.write_text("/dev/vda1 / ext4\n# off: /swap none swap\n/dev/vdb1 /data ext4\n")
    for _turn in range(2):
        bring_back(file, ledger.load(listing)[str(file)])
        assert ledger.is_back(file, ledger.load(listing)[str(file)])
        assert file.read_text() == "/dev/vda1 / ext4\n/swap none swap\n/dev/vdb1 /data ext4\n"


def test_lines_in_another_coding_stay_as_they_are(shared: Path) -> None:
    file, listing = shared / "etc/fstab", shared / "manifest.json"
    file.write_bytes(b"# parti\xe7\xe3o\n# off: /swap none swap\n")
    remember(file, listing, mark="# off: ")
    assert not ledger.is_back(file, ledger.load(listing)[str(file)])
    bring_back(file, ledger.load(listing)[str(file)])
    assert file.read_bytes() == b"# parti\xe7\xe3o\n/swap none swap\n"


def test_file_link_directory_and_nothing_come_back(tmp_path: Path) -> None:
    file, link, folder, fresh = (tmp_path / name for name in ("file", "link", "folder", "fresh"))
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to("file")
    folder.mkdir(mode=0o755)
    before = {path: state(path) for path in (file, link, folder, fresh)}
    file.write_text("new")
    file.chmod(0o600)
    link.unlink()
    link.symlink_to("folder")
    folder.chmod(0o700)
    fresh.write_text("ours")
    for _turn in range(2):  # an interrupted reset begins again
        for path, state_before in before.items():
            bring_back(path, state_before)
    assert file.read_text() == "old" and file.stat().st_mode & 0o777 == 0o640
    assert str(link.readlink()) == "file"
    assert folder.stat().st_mode & 0o777 == 0o755
    assert not fresh.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def _remember(shared: Path, first: int) -> None:
    ledger.SHARED = (f"{shared}/etc/",)  # type: ignore[assignment]  # in a process of its own
    for number in range(first, first + 40):
        remember(shared / f"etc/file{number}", shared / "manifest.json")


def test_two_processes_lose_no_entry(shared: Path) -> None:
    both = [multiprocessing.get_context("spawn").Process(target=_remember, args=(shared, first)) for first in (0, 40)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(ledger.load(shared / "manifest.json")) == 80
    assert [path.name for path in shared.glob("*.shaka-new")] == []


def _replace(path: Path, text: str) -> None:
    for _number in range(200):
        whole.replace(path, text, 0o600)


def test_two_processes_may_write_one_file(tmp_path: Path) -> None:
    both = [multiprocessing.get_context("spawn").Process(target=_replace, args=(tmp_path / "file", text)) for text in ("one" * 999, "two" * 999)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "file").read_text() in ("one" * 999, "two" * 999) and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_on_its_way_is_removed(tmp_path: Path) -> None:
    (tmp_path / "file.999999999.shaka-new").write_text("half")
    (tmp_path / "other.999999999.shaka-new").write_text("another file's")
    whole.replace(tmp_path / "file", "whole", 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other.999999999.shaka-new"]


def test_what_is_forgotten_is_not_brought_back(shared: Path) -> None:
    file, listing = shared / "etc/sudoers", shared / "manifest.json"
    remember(file, listing)
    ledger.forget([str(file), "/etc/other"], listing)
    assert ledger.load(listing) == {}

"""The lock that lets one process at a time into a directory."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy, alone


def test_a_second_one_is_refused_and_no_file_stays(tmp_path: Path) -> None:
    with alone(tmp_path, ""), pytest.raises(Busy, match="another one runs"), alone(tmp_path, "another one runs"):
        pytest.fail("two at once")
    with alone(tmp_path, ""):
        assert list(tmp_path.iterdir()) == []


def test_one_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with alone(tmp_path, ""):
            held.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    with alone(tmp_path, "", patience=10):
        other.join(timeout=5)
        assert not other.is_alive()

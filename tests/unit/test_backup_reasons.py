"""What a backup says of a failure of rclone: the cause, without what only a provider's support can use. The lines are rclone's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/backup/files/stream.sh"
IDS = "RequestID: Y2Q80ZZ875X82XD6, HostID: JccEjPe29P9/GgCwhQDimCAB11B7D8lcO/zK1hTs3iXZlvwXN0CnvFmv2H7b7RX99ajZshpqGPcSpSDQkvEaRRQ="


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            "NOTICE: Failed to rcat with 2 errors: last error was: failed to upload chunk 3 with 5242880 bytes: operation error S3: UploadPart, "
            f"https response error StatusCode: 507, {IDS}, api error InsufficientStorage: No space left on device.",
            "failed to upload chunk 3 with 5242880 bytes: operation error S3: UploadPart: InsufficientStorage: No space left on device.",
        ),
        (
            "NOTICE: Failed to rcat with 2 errors: last error was: operation error S3: PutObject, exceeded maximum number of attempts, 1, "
            'https response error StatusCode: 0, RequestID: , HostID: , request send failed, Put "https://10.0.0.1:9000/b/w?x-id=PutObject": '
            "dial tcp 10.0.0.1:9000: connect: connection refused",
            "operation error S3: PutObject: dial tcp 10.0.0.1:9000: connect: connection refused",
        ),
        (
            f"NOTICE: Failed to rcat with 2 errors: last error was: operation error S3: PutObject, https response error StatusCode: 403, {IDS}, "
            "api error RequestTimeTooSkewed: The difference between the request time and the current time is too large.",
            "operation error S3: PutObject: RequestTimeTooSkewed: The difference between the request time and the current time is too large.",
        ),
    ],
)
def test_the_reason_of_s3(tmp_path: Path, printed: str, said: str) -> None:
    (tmp_path / "rclone.error").write_text(f"2026/11/26 20:26:05 ERROR : x: earlier\n2026/11/26 20:26:05 {printed}\n")
    text = SCRIPT.read_text()
    function = text[text.index("said() {") : text.index("\n}\n", text.index("said() {")) + 3]
    done = subprocess.run(["sh", "-c", f"work={tmp_path}\n{function}\nsaid rclone"], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == said, done.stderr

"""The bundle's steps: what makes a new one, what survives a kill, and how the two lanes fail together."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab import bundle, component_flags, doctor, paths, steps
from lab.progress import Progress
from lab.steps import Job, Step


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHAKA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(job: Job) -> None:
    (job.target / "made").write_text("whole")


def refuse(job: Job) -> None:
    job.run("sh", "-c", "echo out of cheese >&2; exit 7")


def wait(job: Job) -> None:
    job.run("sh", "-c", f"echo $$ > {job.target.parent}/pid; sleep 60 & wait")


def build(*lanes: list[Step]) -> None:
    with Progress() as progress:
        steps.build(lanes, progress)


def test_a_step_is_made_once(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step("piece", write, 1)
    build([step])
    assert (step.place / "made").read_text() == "whole"
    assert "ok    piece" in capsys.readouterr().out
    build([step])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "other",
    [
        lambda source: Step("other", write, 1, (source,)),
        lambda source: Step("piece", refuse, 1, (source,)),
        lambda source: Step("piece", write, 1, (source,), pins="2"),
        lambda source: Step("piece", write, 1, (source,), needs=(Step("earlier", write, 1),)),
        lambda source: Step("piece", write, 1),
    ],
)
def test_whatever_goes_in_makes_another_piece(other: Callable[[Path], Step], tmp_path: Path) -> None:
    (tmp_path / "source.go").write_text("package main")
    assert Step("piece", write, 1, (tmp_path,)).key != other(tmp_path).key


def test_a_changed_source_makes_another_piece_but_not_what_a_build_or_a_test_leaves(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("1")
    before = Step("piece", write, 1, (tmp_path,)).key
    for made in ("bin.zst", "main_test.go", "README.md"):
        (tmp_path / made).write_text("x")
    assert Step("piece", write, 1, (tmp_path,)).key == before
    (tmp_path / "main.go").write_text("2")
    assert Step("piece", write, 1, (tmp_path,)).key != before


def test_how_long_it_takes_makes_no_other_piece() -> None:
    assert Step("piece", write, 1).key == Step("piece", write, 2).key


def test_what_a_killed_build_left_is_begun_again() -> None:
    step = Step("piece", write, 1)
    partial = step.place.with_name(f"{step.place.name}.1.partial")
    partial.mkdir(parents=True)
    (partial / "half").write_text("")
    build([step])
    assert [p.name for p in step.place.iterdir()] == ["made"]
    assert not partial.exists()


def test_a_failure_shows_its_output_and_is_not_kept() -> None:
    step = Step("piece", refuse, 1)
    with pytest.raises(SystemExit, match=r"(?s)failed \(7\).*out of cheese"):
        build([step])
    assert not step.place.exists()


def test_a_failed_lane_ends_the_other_with_its_children(cache: Path) -> None:
    started = time.monotonic()
    with pytest.raises(SystemExit, match="out of cheese"):
        build([Step("first", write, 1), Step("second", refuse, 1)], [Step("long", wait, 60)])
    assert time.monotonic() - started < 10
    pid = cache / "steps/pid"
    assert not pid.exists() or not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_the_sweep_keeps_what_was_asked_for_lately(cache: Path) -> None:
    now = time.time()
    for name, days in (("new", 0), ("old", 30), ("half.partial", 0)):
        (cache / "steps" / name).mkdir(parents=True)
        os.utime(cache / "steps" / name, (now, now - days * 86400))
    steps.sweep(cache / "steps", cache / "missing")
    assert [p.name for p in (cache / "steps").iterdir()] == ["new"]


def test_the_next_build_knows_how_long_a_step_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress, progress.step("nap", 1000):
        time.sleep(0.01)
    assert "nap (about 1000 s)" in capsys.readouterr().out
    with Progress() as progress, progress.step("nap", 1000):
        pass
    assert "nap (about 1 s)" in capsys.readouterr().out


def test_remembered_times_that_cannot_be_read_are_forgotten(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.mkdir()
    (cache / "timings.json").write_text("[1")
    with Progress() as progress, progress.step("nap", 7):
        pass
    assert "nap (about 7 s)" in capsys.readouterr().out


def test_the_bundle_is_laid_out_as_its_lock_says(cache: Path) -> None:
    made = {}
    for step in (step for lane in bundle.plan() for step in lane):
        made[step.name] = cache / "made" / step.name
        made[step.name].mkdir(parents=True)
    contents = {
        "k3s": ["k3s"],
        "manifests": ["cert-manager.yaml", "traefik-crds.yaml", "traefik-rbac.yaml"],
        "wheels": ["kubernetes-1-py3-none-any.whl", "charset_normalizer-3-cp311-cp311-manylinux2014_x86_64.whl", "certifi-1-py3-none-any.whl"],
        "images' programs": ["pebble"],
        "backup tools": ["age.tar.gz", "rclone.zip", "ca-certificates.crt"],
        "versitygw": ["versitygw"],
    } | {f"{archive} images": ["images.tar.zst"] for archive in bundle.ARCHIVES}
    for name, files in contents.items():
        for file in files:
            (made[name] / file).write_text(f"{name} {file}")
    bundle._assemble(cache / "bundle", made)
    lock = json.loads((cache / "bundle/artifacts.lock.yml").read_text())["platform_artifacts"]
    for entry in lock["files"].values():
        (architecture,) = entry["sha256"]
        assert entry["sha256"][architecture] == steps.digest(cache / "bundle" / entry["path"])
    assert lock["files"]["k3s"]["sha256"].keys() == {"amd64"}
    assert {entry["path"] for entry in lock["files"].values()} >= {f"wheels/{name}" for name in contents["wheels"]}
    assert {image["archive"] for image in lock["images"].values()} <= set(lock["files"])


def test_the_lab_has_the_backup_tools_of_the_lock() -> None:
    shipped = yaml.safe_load((paths.ROOT / "roles/artifacts/files/artifacts.lock.yml").read_text())["platform_artifacts"]["files"]
    assert (shipped["age"]["version"], shipped["rclone"]["version"]) == (bundle.AGE_VERSION, bundle.RCLONE_VERSION)
    assert f"certifi=={shipped['ca_certificates']['version']} " in bundle.REQUIREMENTS.read_text()


def test_every_image_has_its_stage() -> None:
    for reference, archive in bundle.REFERENCES.values():
        stage = re.sub(r"\W", "-", reference.removeprefix("lab.local/"))
        assert re.search(rf"^FROM \S+ AS {stage}$", (paths.LAB / "images" / archive / "Containerfile").read_text(), re.MULTILINE), reference


def test_the_doctor_brings_what_the_recipes_need() -> None:
    assert set(bundle.PACKAGES) <= set(doctor.PACKAGES.values())


def test_a_components_flags_are_read_from_its_help() -> None:
    output = """The kubelet runs with --config FILE.

Flags:
  -h, --help                        help for kubelet
      --cloud-provider string       the provider; see --cloud-config
  -v, --v Level                     number for the log level
"""
    assert component_flags.listed(output) == ["cloud-provider", "v"]
    written = yaml.safe_load(component_flags.page({"kubelet": ["cloud-provider", *(f"flag-{number}" for number in range(40)), "v"]}, "v1.36.4"))
    assert written["__k3s_component_flags"]["kubelet-arg"][0::41] == ["cloud-provider", "v"]

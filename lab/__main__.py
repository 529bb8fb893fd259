"""The lab's command line: `python -m lab doctor|bundle|up|down|ssh|status`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from lab import bundle, doctor, paths
from lab.hosts import ACME_PORT, BUCKET, S3_PORT, Lab
from lab.progress import Progress


def write_inventory(lab: Lab, bundle_path: Path, directory: Path, memory: str, cpus: str) -> None:
    """Write what only this lab knows into the inventory: addresses, keys, secrets, and where the bundle lies. Git ignores the file."""
    import yaml  # the doctor runs before PyYAML is there

    authority = (lab.state / "acme/ca.crt").read_text()
    values = {
        "lab_address": lab.server_address,
        "lab_port": 22,
        "lab_key": str(lab.key),
        "lab_known_hosts": str(lab.known_hosts),
        "lab_domain": lab.domain,
        "lab_acme_root": str(lab.state / "acme/root.pem"),
        "platform_bundle": str(bundle_path),
        "platform_server": {"cpu": cpus, "memory": memory},
        "platform_acme": {
            "email": f"operator@{lab.domain}",
            "server": f"https://{lab.services_address}:{ACME_PORT}/dir",
            "ca_bundle": authority,
        },
        "platform_s3": {"endpoint": f"http://{lab.services_address}:{S3_PORT}", "region": "lab", "bucket": BUCKET, "prefix": "shaka"},
        "platform_backup_recipient": lab.backup_recipient(),
        "platform_backup_identity_file": str(lab.state / "backup-identity.txt"),
        "platform_secrets": lab.secrets(),
    }
    target = directory / "group_vars/all/lab.yml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(0o600)
    target.write_text("---\n# Written by `python -m lab up`; goes with `make sandbox-down`.\n" + yaml.safe_dump(values, sort_keys=True))


def up(arguments: argparse.Namespace) -> None:
    lab = Lab(arguments.name)
    with Progress() as progress:
        lab.up(progress, memory=arguments.memory, cpus=arguments.cpus)
        bundle_path = bundle.build(progress)
        lab.start_services(bundle_path, progress)
    (lab.state / "acme/root.pem").write_text(lab.acme_root())
    write_inventory(lab, bundle_path, Path(arguments.inventory), arguments.memory.upper().replace("G", "Gi"), arguments.cpus)
    print(f"lab: a bare server at {lab.server_address}, with the lab's stand-in for K3s (not K3s itself); inventory {arguments.inventory}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    doctor_command = commands.add_parser("doctor", help="say what is missing on this machine")
    doctor_command.add_argument("--install", action="store_true", help="and install it")
    commands.add_parser("bundle", help="build the offline bundle and print its path")
    for name, text in (("up", "start a bare server and its services"), ("down", "remove a lab and all it holds"), ("ssh", "run a command on the server"), ("status", "show what runs")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--name", default="sandbox", help="which lab (default: sandbox)")
        if name == "up":
            command.add_argument("--memory", default="2g", help="the server's memory (default: 2g)")
            command.add_argument("--cpus", default="2", help="the server's CPUs (default: 2)")
            command.add_argument("--inventory", default=str(paths.ROOT / "inventories/sandbox"), help="the inventory that gets the lab's addresses")
        if name == "ssh":
            command.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.command == "doctor":
        findings = doctor.examine()
        print(doctor.report(findings), flush=True)
        if arguments.install:
            doctor.install(findings)
        return 0 if all(f.ok for f in doctor.examine()) else 1
    if arguments.command == "bundle":
        with Progress() as progress:
            print(bundle.build(progress))
    elif arguments.command == "up":
        up(arguments)
    elif arguments.command == "down":
        Lab(arguments.name).down()
    elif arguments.command == "ssh":
        command = Lab(arguments.name).ssh(*arguments.arguments)
        os.execvp(command[0], command)
    else:
        subprocess.run(["podman", "ps", "--all", "--filter", f"name=shaka-{arguments.name}", "--format", "table {{.Names}} {{.Status}}"], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

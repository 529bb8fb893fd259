"""The lab's command line: `python -m lab doctor|prepare|bundle|sandbox|up|down|ssh|status`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from lab import awkward, doctor, rootfs, sandbox, upstreams
from lab.hosts import HOSTNAME, Lab
from lab.progress import Progress


def up(arguments: argparse.Namespace) -> None:
    lab = Lab(arguments.name)
    lab.prepare(upstreams.path(), memory=arguments.memory, cpus=arguments.cpus)
    hostname = awkward.HOSTNAME if arguments.awkward else HOSTNAME
    sandbox.start(lab, memory=arguments.memory, cpus=arguments.cpus, release=arguments.release, hostname=hostname)
    if arguments.awkward:
        with Progress() as progress:
            awkward.make(lab, progress)
    print(f"lab '{lab.name}': a bare server at {lab.server_address}; the bundle holds {upstreams.version()}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say what is missing on this machine")
    commands.add_parser("prepare", help="say it, and install it")
    commands.add_parser("bundle", help="build the offline bundle and print its path")
    commands.add_parser("sandbox", help="the whole way: a bare server, the platform on it, a backup and its restore")
    about = {
        "up": "start a bare server and its services",
        "down": "remove a lab and all it holds",
        "ssh": "run a command on the server",
        "status": "show what runs",
    }
    for name, text in about.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--name", default="sandbox", help="which lab (default: sandbox)")
        if name == "up":
            command.add_argument("--memory", default="2g", help="the server's memory (default: 2g)")
            command.add_argument("--cpus", default="2", help="the server's CPUs (default: 2)")
            command.add_argument("--awkward", action="store_true", help="with what owners' servers have: a bastion, a locale, a sudo password, ...")
            command.add_argument("--release", default=rootfs.RELEASES[0], choices=rootfs.RELEASES, help="the server's Debian (default: %(default)s)")
        if name == "ssh":
            command.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.command in ("doctor", "prepare"):
        findings = doctor.examine()
        print(doctor.report(findings), flush=True)
        if arguments.command == "prepare":
            doctor.prepare(findings)
        return 0 if all(f.ok for f in doctor.examine()) else 1
    if arguments.command == "bundle":
        with Progress() as progress:
            print(upstreams.build(progress))
    elif arguments.command == "up":
        up(arguments)
    elif arguments.command == "sandbox":
        return sandbox.run()
    elif arguments.command == "down":
        Lab(arguments.name).down()
    elif arguments.command == "ssh":
        ssh = Lab(arguments.name).ssh(*arguments.arguments)
        os.execvp(ssh[0], ssh)
    else:
        subprocess.run(["podman", "ps", "--all", "--filter", f"name=shaka-{arguments.name}", "--format", "table {{.Names}} {{.Status}}"], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

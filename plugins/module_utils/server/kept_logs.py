# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The logs of pods that are about to end: the kubelet removes them with the pod, so they get a second name.

A hard link costs nothing and follows the container to its end, also through what it writes after this; where /var/log lies on a file system of its
own, it is a copy of what there is by then. The kubelet's own rotation bounds each container, and whole deploys are let go of, the oldest first.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

PODS = "var/log/pods"
KEPT = "var/lib/shaka/logs"
MEBIBYTE = 1024 * 1024


def written(root: Path, namespace: str, deployments: Iterable[str]) -> dict[str, Path]:
    """The log files of the pods of Deployments: the name that each is kept under, and where it is.

    The folder of a pod is called <namespace>_<pod>_<uid>, and a Deployment's pods <name>-<hash>-<five characters>.
    """
    names = "|".join(re.escape(name) for name in deployments)
    pod = re.compile(rf"{re.escape(namespace)}_((?:{names})-[a-z0-9]{{5,10}}-[a-z0-9]{{5}})_[0-9a-f-]+")
    found = {}
    for folder in sorted((root / PODS).glob(f"{namespace}_*")):
        match = pod.fullmatch(folder.name)
        for path in sorted(folder.glob("*/*")) if match else []:
            if path.is_file() and not path.is_symlink():
                found[f"{match[1]}_{path.parent.name}_{path.name}"] = path  # type: ignore[index]
    return found


def shelf(root: Path, namespace: str, app: str) -> Path:
    """The folder of an application, which holds one for each deploy, by its time."""
    return root / KEPT / namespace / app


def deploys(place: Path) -> list[Path]:
    """The deploys whose logs are kept, the last one first."""
    return sorted((path for path in place.glob("*") if path.is_dir()), reverse=True)


def keep(files: dict[str, Path], place: Path, time: str) -> bool:
    """Keep the logs under the time of a deploy; returns whether there was anything that was not kept yet.

    A deploy that is run again after it was killed finds the same pods: they stay where they are.
    """
    last = next(iter(deploys(place)), None)
    if last and {path.name for path in last.iterdir()} >= set(files):
        return False
    target = place / time
    target.mkdir(parents=True, mode=0o700, exist_ok=True)
    for path in (target, place, place.parent, place.parent.parent):
        path.chmod(0o700)  # what an application writes may be private
    for name, path in files.items():
        try:
            os.link(path, target / name)
        except FileExistsError:
            continue
        except FileNotFoundError:
            continue  # rotated or gone in this moment
        except OSError:
            shutil.copy2(path, target / name)
    return True


def let_go(place: Path, most: int, mebibytes: int) -> list[str]:
    """Remove the oldest deploys beyond their number and their size together, but never the last one; returns their names."""
    gone, size = [], 0
    for index, deploy in enumerate(deploys(place)):
        size += sum(path.stat().st_size for path in deploy.iterdir())
        if index and (index >= most or size > mebibytes * MEBIBYTE):
            shutil.rmtree(deploy)
            gone.append(deploy.name)
    return gone

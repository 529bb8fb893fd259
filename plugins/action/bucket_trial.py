# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tries the keys of the backups in their buckets; see the module of the same name for its documentation."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup.bucket_trial import DONE, BucketTrial, KeyPair
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import named_credentials
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction

ARGUMENT_SPEC: dict[str, Any] = {
    "server": {"type": "str", "required": True},
    "environments": {"type": "dict", "required": True},
    "secrets": {"type": "dict", "required": True, "no_log": True},
}
COLUMNS = ("keys", *DONE)
PATIENCE = 20  # seconds for all of them, each of which is tried at the same time


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            trials = planned(arguments["server"], arguments["environments"], arguments["secrets"])
        except (OSError, TypeError, ValueError) as error:  # as of certificates that are none, which are a finding of their own, too
            return {"changed": False, "platform_findings": [f"the buckets cannot be tried: {error}"]}
        run(trials, bool(self._task.check_mode))
        tables = [table_of(trial, names) for trial, names in trials]
        findings = [text for trial, _names in trials for text in trial.findings]
        notes = [text for trial, _names in trials for text in trial.notes]
        result: dict[str, Any] = {"changed": False, "platform_findings": findings, "platform_table": tables}
        return {**result, "warnings": notes} if notes else result


def planned(server: str, environments: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[tuple[BucketTrial, list[str]]]:
    """One trial for each different bucket and keys, with the environments that share it; tried where the first of them has its backups."""
    found: dict[tuple[Any, ...], tuple[BucketTrial, list[str]]] = {}
    for name, env in environments.items():
        backup, s3 = env["backup"], env["backup"]["s3"]
        writer, reader = pair_of(backup["writer"], secrets), pair_of(backup["reader"], secrets)
        keeper = pair_of({"access_key": "s3_keeper/ACCESS_KEY", "secret_key": "s3_keeper/SECRET_KEY"}, secrets)
        if not s3["endpoint"] or writer is None:
            continue
        others = [None if pair is None or pair.credentials == writer.credentials else pair for pair in (reader, keeper)]
        same = (s3["endpoint"], s3["bucket"], s3["path_style"], s3["region"], writer.credentials, *(pair and pair.credentials for pair in others))
        if same not in found:
            folder = "/".join(part for part in (s3["prefix"].strip("/"), server, name) if part)
            found[same] = BucketTrial(s3, folder, writer, *others), []
        found[same][1].append(name)
    return list(found.values())


def pair_of(named: Mapping[str, str], secrets: Mapping[str, Any]) -> KeyPair | None:
    """The keys that `backup.writer` or the like names; None where they are not filled in."""
    found = named_credentials(named, secrets)
    return KeyPair(f"platform_secrets.{named['access_key'].partition('/')[0]}", found) if found else None


def run(trials: list[tuple[BucketTrial, list[str]]], only_look: bool) -> None:
    """All at the same time. One that hangs, as in a name server's answer, is left behind."""
    threads = [(trial, threading.Thread(target=trial.run, args=(only_look,), daemon=True)) for trial, _names in trials]
    for _trial, thread in threads:
        thread.start()
    for trial, thread in threads:
        thread.join(PATIENCE)
        if thread.is_alive():
            trial.notes.append(f"{trial.place}: no answer within {PATIENCE} s: what the keys may do there was not tried from this controller")


def table_of(trial: BucketTrial, names: list[str]) -> dict[str, Any]:
    kept = f"versioning {trial.versioning}, Object Lock {trial.lock}"
    failed = [position for position, keys in enumerate(trial.tried) if any(keys.pair.inventory in text for text in trial.findings)]
    rows = [keys.row() for keys in trial.tried]
    return {"title": f"bucket {trial.place} of {', '.join(names)}: {kept}", "columns": COLUMNS, "rows": rows, "failed": failed}

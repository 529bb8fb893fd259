# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What failed in a restore's pod, why, and what to do. Pure."""

from __future__ import annotations

from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import PodReport

ANOTHER = "take another backup (-e restore_backup=STAMP; without it the list is shown)"


def explain(plan: RestorePlan, report: PodReport) -> str:
    """The failure that the pod reports, in words."""
    if len(report.problem) < 2:
        return f"{report.phase} of {plan.backup} ended with exit code {report.ended}, without a reason: kubectl -n {plan.namespace} get events"
    kind, index, detail = (*report.problem, "")[:3]
    database = plan.databases[int(index)]
    dump = f"the dump of {database.name} ({plan.backup})"
    if kind == "unread":
        why = "check that the endpoint is reached from pods, and that the credentials (platform_secrets.s3_reader, else those of the server) may read"
        return f"{dump} cannot be read from S3: {detail}; {why}"
    if kind == "size":
        cut = "is truncated" if int(detail) < database.bytes else "is not what was written"
        return f"{dump} {cut}: it has {detail} bytes, its manifest says {database.bytes}; {ANOTHER}"
    if kind == "digest":
        return f"{dump} was changed after it was written: its SHA-256 is not the one in its manifest. Nothing of it was opened; {ANOTHER}"
    if kind == "sealed":
        return f"{dump} {_sealed(detail)}"
    if kind == "dump":
        return f"{dump} is whole, and still no dump that this Postgres's pg_restore reads: {detail}; {ANOTHER}"
    if kind == "rdb":
        return f"{dump} is whole, and this Redis's redis-check-rdb does not read it: {detail}; was it of a newer Redis? Else {ANOTHER}"
    if kind == "recovery":
        return f"{plan.source} as it was at {plan.moment} could not be recovered: {detail.removeprefix('recovery failed: ')}"
    if kind == "restore":
        return f"{dump} could not be restored into {database.scratch}: {detail.strip()}"
    if kind == "dumping":
        return f"{database.live} could not be dumped: {detail}"
    if kind == "mask":
        where = f"platform_environments.{plan.environment}.backup.mask"
        return f"the SQL that masks {database.name} failed, so nothing of it is put in place: {detail}; see {where}"
    return f"{kind} of {database.scratch}: {detail}"


def _sealed(detail: str) -> str:
    if "no identity matched" in detail:
        return (
            "was encrypted for somebody else: the identity given is that of none of its recipients. Give the private key of one of them "
            "(-e restore_identity_file=FILE; platform_backup_recipient may have changed since)"
        )
    if "identity" in detail or "secret key" in detail:
        return f"was not decrypted, as restore_identity_file is not an age identity: {detail}"
    return f"could not be decrypted: {detail}"

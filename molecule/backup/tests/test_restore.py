"""A restore brings back what was there, beside what is live; whatever goes wrong, what is live stays as it is."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from backups import DATA, playbook, sql
from conftest import ROOT, Server
from restores import (
    BY_OWNER,
    BY_SUPERUSER,
    DAMAGES,
    MIGRATION,
    PROD,
    another_identity,
    await_pod_over,
    backup,
    content,
    damaged,
    databases,
    kill_in,
    pod,
)

RESTORE = ("-e", "restore_environment=prod", "-e", "restore_confirm=prod", "-e", "restore_backup_first=false")


LIMITS = r"{.spec.containers[0].resources.limits.cpu} {.metadata.annotations.shaka\.platform/cpu-limit-before-restore}"
CPU = f"kubectl get pod -n shaka-prod postgres-0 -o jsonpath='{LIMITS}{{\"\\n\"}}'"


def cpu_limit(server: Server) -> str:
    """Of prod's Postgres, and while it is raised what it was before."""
    return server.run(CPU).strip()


@pytest.fixture(scope="module")
def good(server: Server) -> Path:
    """A backup of prod, after which a migration went on."""
    if sql(server, "select to_regclass('customers')") == "":
        sql(server, BY_SUPERUSER)
        sql(server, BY_OWNER)
        sql(server, "set role shaka_production; create table lines as select generate_series(1, 5) as id", "shaka_reports")
    return backup(server, *PROD)


def test_after_a_migration_everything_comes_back_whatever_holds_locks(server: Server, good: Path) -> None:
    before = {name: content(server, name) for name in PROD}
    sql(server, MIGRATION)
    session = "kubectl exec -i -n shaka-prod postgres-0 -- psql -U shaka_production -d shaka_production"
    holding = f"(echo 'begin; lock table customers;'; sleep 600) | {session}"
    everyday = cpu_limit(server)
    at_server = ["ssh", *server.ssh_options, f"root@{server.lab['address']}"]
    holder = subprocess.Popen([*at_server, holding], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watcher = subprocess.Popen([*at_server, f"while sleep 0.3; do {CPU}; done"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        time.sleep(3)
        said = playbook(server, "restore", *RESTORE, "-e", f"restore_backup={good.name}")
    finally:
        for process in (holder, watcher):
            process.terminate()
    limits = watcher.communicate(timeout=10)[0].splitlines()
    assert f"2 {everyday}" in limits, limits  # all that the server has
    assert cpu_limit(server) == everyday
    assert {name: content(server, name) for name in PROD} == before
    assert "is kept as shaka_production_before_" in said, said
    held = re.search(r"held\s+up\s+for ([0-9.]+)", said)
    assert held and float(held[1]) < 10, said
    kept = [name for name in databases(server) if "_before_" in name]
    assert len(kept) == 2
    assert "orders" in content(server, kept[0])
    refused = pod(server, f"psql -U shaka_production -d {kept[0]} -c 'select 1' 2>&1; true")
    assert "not currently accepting connections" in refused
    # the application's own user, over the network
    rows = sql(server, "set role shaka_app; select count(*) from customers")
    assert rows == "2000"
    assert server.run("kubectl get jobs,pods -n shaka-prod -l app=postgres-restore -o name") == ""


def test_what_was_live_is_dropped_only_by_name(server: Server, good: Path) -> None:
    del good
    kept = [name for name in databases(server) if "_before_" in name]
    stamp = kept[0].rpartition("_")[2].upper()
    playbook(server, "restore", *RESTORE[:2], "-e", f"restore_drop_before={stamp}", code=2)  # nobody confirms it
    assert kept == [name for name in databases(server) if "_before_" in name]
    playbook(server, "restore", *RESTORE, "-e", f"restore_drop_before={stamp}")
    assert [name for name in databases(server) if name.endswith(f"_before_{stamp.lower()}")] == []


@pytest.fixture(params=["wrong key", *DAMAGES])
def broken(request: pytest.FixtureRequest, good: Path, tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    """What to give the playbook for a backup that must not be restored, and what it has to say."""
    chosen = ["-e", f"restore_backup={good.name}"]
    if request.param == "wrong key":
        yield [*chosen, *another_identity(tmp_path)], "was encrypted for somebody else"
        return
    with damaged(good, request.param):
        yield chosen, DAMAGES[request.param]


def test_what_cannot_be_trusted_or_opened_is_refused_with_its_reason(server: Server, broken: tuple[list[str], str]) -> None:
    arguments, words = broken
    before = sql(server, "select count(*) from customers")
    said = playbook(server, "restore", *RESTORE, *arguments, code=2)
    assert words in " ".join(said.split()), said
    assert sql(server, "select count(*) from customers") == before
    assert [name for name in databases(server) if "_before_" not in name] == sorted(PROD)
    assert server.run("kubectl get jobs -n shaka-prod -l app=postgres-restore -o name") == ""


def test_without_an_answer_nothing_happens(server: Server, good: Path) -> None:
    said = playbook(server, "restore", "-e", "restore_environment=prod", code=2)
    assert good.name in said and "there was no answer" in said and "restore_confirm=prod" in said


@pytest.mark.parametrize("task", ["Hand the backup to a pod", "Restore the backup into new databases", "Put the restored databases in place"])
def test_a_controller_that_is_gone_leaves_what_is_live_and_the_next_run_clears(server: Server, good: Path, task: str) -> None:
    before, everyday = content(server, "shaka_production"), cpu_limit(server)
    kill_in(server, task, *DATA, *RESTORE, "-e", f"restore_backup={good.name}")
    await_pod_over(server)
    assert content(server, "shaka_production") == before
    keys = Path(server.lab["backup_identity_file"]).read_text().split()[-1]
    assert server.run(f"kubectl get secrets,configmaps,jobs,pods -n shaka-prod -o yaml | grep -c {keys[:40]}; true").strip() == "0"
    said = server.playbook("molecule/backup/converge.yml", *DATA, "--tags", "restore", "--check", "--diff")
    if left := [name for name in databases(server) if re.search("_restore_", name)]:
        assert all(name in said.stdout for name in left), said.stdout
    done = server.playbook("molecule/backup/converge.yml", *DATA, "--tags", "restore")
    assert done.returncode == 0, done.stdout
    assert [name for name in databases(server) if "_before_" not in name] == sorted(PROD)
    assert server.run("kubectl get jobs -n shaka-prod -l app=postgres-restore -o name") == ""
    assert cpu_limit(server) == everyday


def test_a_drill_leaves_nothing_but_its_record(server: Server, good: Path) -> None:
    there = databases(server)
    playbook(server, "drill", "-e", "restore_environment=prod")
    assert databases(server) == there
    record = json.loads(server.run("kubectl get configmap backup-drill -n shaka-prod -o json"))["data"]
    assert record["stamp"] == good.name and json.loads(record["databases"])["shaka_production"]["tables"] >= 2


def test_another_environment_gets_it_masked_or_not_at_all(server: Server, good: Path, tmp_path: Path) -> None:
    into = ("-e", "restore_environment=prod", "-e", "restore_into=staging", "-e", "restore_confirm=staging", "-e", "restore_backup_first=false",
            "-e", "restore_database=shaka_production", "-e", f"restore_backup={good.name}")  # fmt: skip
    said = playbook(server, "restore", *into, code=2)
    assert "would get the data of prod as it is" in " ".join(said.split())
    for statement, code in (("update customers set emaill = 'x'", 2), ("update customers set email = id || '@masked.test'", 0)):
        variables = tmp_path / "mask.json"
        profiles = yaml.safe_load((ROOT / "molecule/backup/vars/data.yml").read_text())["platform_profiles"]
        profiles["data"]["environments"]["staging"] = {"backup": {"mask": [statement]}}
        variables.write_text(json.dumps({"platform_profiles": profiles}))
        done = server.playbook("playbooks/restore.yml", *DATA, "-e", f"@{variables}", *into)
        assert done.returncode == code, done.stdout + done.stderr
    assert (
        sql(server, "select count(*), count(*) filter (where email like '%@masked.test') from customers", "shaka_staging", "staging") == "2000|2000"
    )
    assert sql(server, "select tableowner from pg_tables where tablename = 'customers'", "shaka_staging", "staging") == "shaka_staging"


def test_one_database_to_the_controller_and_back(server: Server, good: Path, tmp_path: Path) -> None:
    del good
    file = tmp_path / "reports.dump"
    playbook(server, "export", "-e", "export_environment=prod", "-e", "export_database=shaka_reports", "-e", f"export_file={file}")
    assert file.stat().st_mode & 0o777 == 0o600
    sql(server, "truncate lines", "shaka_reports")
    given = ("-e", "import_environment=prod", "-e", "import_database=shaka_reports", "-e", f"import_file={file}", "-e", "restore_backup_first=false")
    playbook(server, "import", *given, code=2)
    playbook(server, "import", *given, "-e", "restore_confirm=prod")
    assert sql(server, "select count(*) from lines", "shaka_reports") == "5"


def test_a_restore_beside_the_live_database(server: Server, good: Path) -> None:
    playbook(server, "restore", *RESTORE, "-e", "restore_database=shaka_reports", "-e", "restore_as=look", "-e", f"restore_backup={good.name}")
    assert sql(server, "select count(*) from lines", "look") == "5"
    sql(server, "drop database look", "postgres")

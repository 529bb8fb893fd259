"""What an operator does later: run again, lose a table and get it back."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Server

PID = "systemctl show k3s --property MainPID --value"
# Word for word as the owners wrote it
BY_HAND = """kubectl create secret generic shaka-api-secrets \\
  --from-literal=DB_PASSWORD="SENHA_REAL_AQUI" \\
  --from-literal=JWT_SECRET="SECRET_64_CHARS_MINIMO" \\
  --from-literal=STRIPE_SECRET_KEY="sk_live_REAL_KEY" \\
  -n shaka-prod \\
  --dry-run=client -o yaml | kubectl apply -f -
"""


def test_a_second_run_changes_nothing_and_leaves_k3s_alone(server: Server) -> None:
    before = server.run(PID)
    done = server.playbook("site.yml")
    assert done.returncode == 0, done.stdout
    assert " changed=0 " in done.stdout
    assert server.run(PID) == before


def test_a_mistyped_inventory_is_an_error_and_not_clean(server: Server) -> None:
    assert server.playbook("playbooks/drift.yml", "-i", "inventories/prdo").returncode not in (0, 3)


def test_a_secret_that_was_applied_by_hand_is_put_back_and_leaves_nothing_behind(server: Server) -> None:
    secret = "kubectl get secret shaka-api-secrets -n shaka-prod -o jsonpath='{.data}{.metadata.annotations}'"
    before = server.run(secret)
    assert "secret/shaka-api-secrets configured" in server.run(BY_HAND)
    assert server.run(secret) != before
    done = server.playbook("site.yml", "--tags", "config")
    assert done.returncode == 0, done.stdout
    assert server.run(secret) == before, "the last-applied annotation would hold the values"


@pytest.mark.parametrize(("environment", "database"), [("prod", "shaka_production"), ("dev", "shaka_dev")])  # dev's quota is the smallest
def test_a_dropped_table_is_back_after_the_restore(server: Server, environment: str, database: str) -> None:
    query = f"kubectl exec -n shaka-{environment} postgres-0 -- psql -XAt -U {database} -d {database} -c '{{}}'"
    server.curl(environment, "--fail")
    rows = server.run(query.format("select count(*), max(id) from visits"))
    backup = server.playbook("playbooks/backup.yml", "-e", f"platform_only={environment}")
    assert backup.returncode == 0, backup.stdout
    assert "k8srcp" not in server.run("ls /tmp"), "what root's client knows of the API would lie where any user can put it"
    server.run(query.format("drop table visits"))
    restore = server.playbook("playbooks/restore.yml", "-e", f"restore_environment={environment}", "-e", f"restore_confirm={environment}")
    assert restore.returncode == 0, restore.stdout
    assert server.run(query.format("select count(*), max(id) from visits")) == rows
    assert "postgres-restore" not in server.run(f"kubectl get jobs,secrets -n shaka-{environment}")
    databases = server.run(f"kubectl exec -n shaka-{environment} postgres-0 -- psql -XAtU postgres -c 'select datname from pg_database'").split()
    kept = [name for name in databases if name.startswith(f"{database}_before_")]
    assert len(kept) == 1
    stamp = kept[0].rpartition("_before_")[2]
    options = ["-e", f"restore_environment={environment}", "-e", f"restore_confirm={environment}", "-e", f"restore_drop_before={stamp}"]
    dropped = server.playbook("playbooks/restore.yml", *options)
    assert dropped.returncode == 0, dropped.stdout


def test_a_backup_that_fails_says_so_and_why(server: Server) -> None:
    login = "kubectl exec -n shaka-dev postgres-0 -- psql -XU postgres -c 'alter role shaka_dev {}'"
    server.run(login.format("nologin"))
    try:
        done = server.playbook("playbooks/backup.yml", "-e", "platform_only=dev")
    finally:
        server.run(login.format("login"))
        server.run("kubectl delete jobs -n shaka-dev --field-selector=status.successful=0")  # the tests after it want no pod that failed
    assert done.returncode == 2, done.stdout
    assert "The backup failed for dev" in done.stdout
    assert "not permitted to log in" in done.stdout


def test_backups_in_s3_are_encrypted(server: Server) -> None:
    dumps = list((Path(server.lab["key"]).parent / "s3/shaka-backups").rglob("*.dump.age"))
    assert dumps
    assert all(dump.read_bytes().startswith(b"age-encryption.org/v1") for dump in dumps)


def test_verify_finds_nothing(server: Server) -> None:
    done = server.playbook("playbooks/verify.yml")
    assert done.returncode == 0, done.stdout

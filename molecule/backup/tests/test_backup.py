"""What is in a backup, what its failure says, who is told of it, and what retention removes."""

from __future__ import annotations

import time

from backups import manifest, objects, playbook, receiver, s3_stopped, sql, stamps, state_of, still, verified
from conftest import Server


def test_every_declared_database_is_in_it_and_two_of_a_day_both_stay(server: Server) -> None:
    sql(server, "set role shaka_production; create table kept (id int primary key); insert into kept select generate_series(1, 500);")
    sql(server, "analyze kept")  # a session's own inserts are counted once more when it ends
    sql(server, "set role shaka_production; create table report (id int); insert into report values (1);", database="shaka_reports")
    for _turn in range(2):
        playbook(server, "backup", "-e", "platform_only=prod")
    found = stamps(server)
    assert len(found) == 2
    content = manifest(server, found[0])
    assert [each["name"] for each in content["databases"]] == ["shaka_production", "shaka_reports"]
    assert content["databases"][0]["tables"]["public.kept"] == 500
    assert content["kind"] == "manual" and content["server"] == "sandbox" and content["environment"] == "prod"


def test_verify_and_the_list_see_what_lies_in_the_bucket(server: Server) -> None:
    newest = stamps(server)[-1]
    folder = next(path for path in objects(server) if "/prod/" in path and path.endswith(f"/dumps/{newest}/manifest")).rpartition("/")[0]
    place = state_of(server) / "s3/shaka-backups" / folder
    assert "authentic" in verified(server)
    listed = playbook(server, "backups", "-e", "platform_only=prod", "-e", "backups_format=json")
    assert "next due" in listed and '"verified": true' in listed.replace("\\", "")
    for name, spoil, words in (
        ("manifest", lambda content: b"", "does not count"),
        ("manifest", None, "is not in the bucket"),
        ("shaka_production.dump.age", lambda content: content[:-1], "bytes"),
        ("shaka_reports.dump.age", None, "has 0 of"),
    ):
        content = (place / name).read_bytes()
        (place / name).unlink()
        if spoil:
            (place / name).write_bytes(spoil(content))
        try:
            assert words in verified(server)
        finally:
            (place / name).write_bytes(content)
    assert "authentic" in verified(server)


def test_preflight_tries_the_keys_and_leaves_nothing(server: Server) -> None:
    before = still(server)
    said = playbook(server, "preflight", "-e", "platform_only=prod")
    assert "Object Lock governance 10 years" in said and "platform_secrets.s3_keeper" in said
    assert still(server) == before


def test_without_s3_it_fails_within_two_minutes_says_why_and_somebody_is_told_once(server: Server) -> None:
    before = objects(server)
    with receiver(server) as told:
        with s3_stopped(server):
            began = time.monotonic()
            said = playbook(server, "backup", "-e", "platform_only=dev", code=2)
            assert time.monotonic() - began < 150
            assert "refused" in said or "does not answer" in said or "dial tcp" in said, said
            for _turn in range(2):
                server.run("systemctl start shaka-notify")
        assert [(each["what"], each["state"]) for each in told] == [("dev backup", "failed")]
        assert "refused" in told[0]["reason"] or "dial tcp" in told[0]["reason"], told
        playbook(server, "backup", "-e", "platform_only=dev")
        server.run("systemctl start shaka-notify")
        assert [each["state"] for each in told] == ["failed", "ok"]
    assert set(before) <= set(objects(server))


def test_retention_shows_and_removes_what_no_span_keeps_and_nothing_of_another_postgres(server: Server) -> None:
    """An unfinished dump of days ago goes; what another Postgres wrote, and what was taken by hand, stays."""
    folder = next(path for path in objects(server) if "/prod/" in path and "/dumps/" in path).rpartition("/dumps/")[0]
    bucket = state_of(server) / "s3/shaka-backups"
    abandoned, foreign = f"{folder}/dumps/20261001T000000Z/app.dump.age", f"{folder.rpartition('/')[0]}/42/dumps/20261001T000000Z/app.dump.age"
    for path in (abandoned, foreign):
        (bucket / path).parent.mkdir(parents=True, exist_ok=True)
        (bucket / path).write_bytes(b"x")
    before = still(server)
    shown = playbook(server, "backup", "--tags", "prune", "--check", "-e", "platform_only=prod")
    assert "never finished" in shown and "another Postgres" in shown, shown
    assert still(server) == before
    playbook(server, "backup", "--tags", "prune", "-e", "platform_only=prod")
    assert still(server) == [path for path in before if path != abandoned]

"""Redis as the administrator and as an environment's own user."""

from __future__ import annotations

import base64

from conftest import Server


def redis(server: Server, commands: list[str] | str, user: str = "", database: int = 0) -> list[str]:
    """The answers to commands (or to what a command of the server's shell prints), a line of JSON each.

    As an environment's user with the password that its API has, or as the administrator.
    """
    if isinstance(commands, list):
        text = base64.b64encode(("\n".join(commands) + "\n").encode()).decode()
        commands = f"echo {text} | base64 -d"
    run = f"exec redis-cli -3 --json --no-auth-warning -n {database}"
    password = ":"
    if user:
        password = f"kubectl get secret shaka-api-secrets -n shaka-{user} -o jsonpath='{{.data.REDIS_PASSWORD}}' | base64 -d; echo"
        run = f"read -r REDISCLI_AUTH; export REDISCLI_AUTH; {run} --user {user}"
    said = server.run(f"({password}; {commands}) | kubectl exec -i -n shaka-shared redis-0 -- sh -c '{run}'")
    return [line for line in said.splitlines() if line.strip()]

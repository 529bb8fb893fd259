# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platform's model (the fact `platform_model`): what the controller resolves an inventory to, and what roles, filters and modules read.

The keys that an inventory sets are described in the roles' argument_specs; here are their types once the defaults are filled in, and the keys that
follow from others. A workload that the model itself knows nothing of adds its key to `Environment` without a type.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Sizes(TypedDict):
    """Kubernetes quantities of a container, such as 250m and 512Mi."""

    cpu: str
    memory: str


class Sized(TypedDict):
    """What a container asks for and may use at most."""

    requests: Sizes
    limits: Sizes


# --- namespaces and who reaches whom --------------------------------------------------------------------------------------------------------

# `except` is a word of Python's own, so these are not classes.
EgressRule = TypedDict("EgressRule", {"cidr": str, "except": list[str], "ports": list[int], "protocol": str, "pods": list[str]})
IngressRule = TypedDict(
    "IngressRule",
    {
        "namespace": str,  # as Kubernetes knows it; '' where the client is a cidr
        "clients": list[str],
        "cidr": str,
        "except": list[str],
        "pods": list[str],
        "ports": list[int],
        "protocol": str,
    },
)


class Reach(TypedDict):
    """An ingress rule of another namespace of the platform, seen from the client."""

    namespace: str
    clients: list[str]
    pods: list[str]
    ports: list[int]
    protocol: str


class Access(TypedDict):
    """Users, besides the groups of these names."""

    viewers: list[str]
    operators: list[str]


ContainerBound = TypedDict("ContainerBound", {"cpu": str, "memory": str, "ephemeral-storage": str})


class LimitRange(TypedDict):
    """Bounds of a container."""

    min: Sizes
    max: Sizes
    default: ContainerBound
    default_request: ContainerBound


class Space(TypedDict):
    """An environment's namespace, or a further one."""

    name: str  # in the inventory
    namespace: str  # in Kubernetes
    network: str
    egress: list[EgressRule]
    ingress: list[IngressRule]
    api_server: list[str]
    access: Access
    quota: dict[str, str]
    limits: LimitRange
    reaches: list[Reach]


# --- what runs in an environment ------------------------------------------------------------------------------------------------------------


class SecretKey(TypedDict):
    """A value in a Secret."""

    name: str
    key: str


class PgBouncer(Sized):
    """The pool of an environment's Postgres."""

    enabled: bool
    pool_size: int
    clients: int
    service: str
    hash: str  # of its password


class RenamedFrom(TypedDict):
    """Names that an inventory has changed; '' where it is the same."""

    database: str
    user: str


class Postgres(Sized):
    """An environment's Postgres, and where it runs. `owner_secret`: where a job finds the password of the databases' owner."""

    database: str
    user: str
    renamed_from: RenamedFrom
    app_user: str
    databases: list[str]
    extensions: list[str]
    settings: dict[str, str]
    storage: str
    pgbouncer: PgBouncer
    service: str
    namespace: str
    owner_secret: SecretKey


class SharedRedisBackup(TypedDict):
    """Whether the shared Redis is copied, and when."""

    enabled: bool
    schedule: str
    time_zone: str
    keep: Keep


class RedisServer(Sized):
    """The sizes of a Redis. `hash`: of its administrator's password."""

    storage: str
    maxmemory: str
    policy: str
    hash: str


class Redis(RedisServer):
    """An environment's user of a Redis, and the sizes of its own where it is `dedicated`. `namespace`: where the Redis runs in Kubernetes.

    `backup`: whether its own is copied.
    """

    database: int
    prefix: str
    user: str
    allow: list[str]
    dedicated: bool
    backup: bool
    service: str
    namespace: str


class SharedRedis(RedisServer):
    """The Redis that environments share. `namespace` is a key of `Model.namespaces`."""

    namespace: str
    backup: SharedRedisBackup


class EdgeRate(TypedDict):
    """The flood guard at the edge."""

    average: int
    burst: int
    period: str


class Hsts(TypedDict):
    """Strict-Transport-Security, which is not sent with 0 seconds."""

    seconds: int
    subdomains: bool
    preload: bool


class Cors(TypedDict):
    """What pages of other origins may do; none without origins."""

    origins: list[str]
    methods: list[str]
    headers: list[str]
    expose: list[str]
    credentials: bool
    max_age: int


class Maintenance(TypedDict):
    """An application that is closed, and for whom it is not."""

    enabled: bool
    allow: list[str]
    retry_seconds: int


class AppEdge(TypedDict):
    """What stands before an application. `body_bytes` is `body_limit` in bytes; `basic_auth` is the name of a secret."""

    hsts: Hsts
    headers: dict[str, str]
    frame: str
    referrer_policy: str
    cors: Cors
    compress: bool
    body_limit: str
    body_bytes: int
    streams: list[str]
    rates: dict[str, EdgeRate]
    allow: list[str]
    basic_auth: str
    redirects: list[str]
    maintenance: Maintenance


class Probe(TypedDict):
    """How an application's health is asked. `port`: 0 is the application's own."""

    type: str
    path: str
    service: str
    command: list[str]
    port: int
    period: int
    timeout: int
    failures: int


class Probes(TypedDict):
    """The three questions of the kubelet."""

    startup: Probe
    readiness: Probe
    liveness: Probe


class Autoscale(TypedDict):
    """Bounds and aims of a HorizontalPodAutoscaler; without a `max` there is none."""

    min: int
    max: int
    cpu: int
    memory: int


class Volume(TypedDict):
    """A volume that stays. `claim`: its PersistentVolumeClaim."""

    mount: str
    size: str
    claim: str


class Names(TypedDict):
    """Names of configuration values and of secrets."""

    config: list[str]
    secrets: list[str]


class CanaryStep(TypedDict):
    """A share of the users, in percent, and for how long."""

    weight: int
    seconds: int


class Canary(TypedDict):
    """Which users meet a new release first."""

    steps: list[CanaryStep]
    header: str
    cookie: str


class Gate(TypedDict):
    """What a new release must bear. `max_errors` in percent."""

    path: str
    seconds: int
    max_errors: int
    p95_factor: float


class Migrate(TypedDict):
    """The Job before a release; without a command there is none."""

    command: list[str]
    seconds: int


class ReleaseState(TypedDict):
    """What there is of a release beside the running one, while it lasts.

    `name`: of the candidate, whose pods there are `replicas` of; `weight`: percent of the users that it has; `migrate`: whether the Job is there;
    `gate`: whether the server's own requests reach both, by `token`.
    """

    app: str
    name: str
    image: str
    token: str
    replicas: int
    weight: int
    migrate: bool
    gate: bool


class App(Sized):
    """An application of an environment. An empty `image` is the platform's image of the name `api`.

    - key: its name in the inventory; `name` is the one in Kubernetes, and `path` where the inventory has it.
    - labels: what the label `app` says on its pods, those of a release that is being tried among them.
    - hosts: all of them, `host` first; `certified`: those that its certificate names; `served`: whether Traefik leads to it; `asked`: the path by
      which verify asks whether it works.
    - everything: whether it sees all of the environment's configuration; `variables` and `files` are what it sees. `config_hash` changes with that.
    - uses: which servers of the platform it may reach, `postgres` and `redis`.
    - checks: its probes as Kubernetes has them, by their fields.
    """

    key: str
    name: str
    path: str
    labels: list[str]
    image: str
    image_of: str
    command: list[str]
    args: list[str]
    schedule: str
    time_zone: str
    deadline_seconds: int
    replicas: int
    autoscale: Autoscale
    disruption: int
    strategy: str
    canary: Canary
    gate: Gate
    migrate: Migrate
    port: int
    protocol: str
    host: str
    hosts: list[str]
    certified: list[str]
    paths: list[str]
    internal: bool
    served: bool
    asked: str
    asks_readiness: bool
    reaches: list[str]
    liveness: str
    readiness: str
    probes: Probes
    checks: dict[str, Any]
    config: list[str] | None
    secrets: list[str] | None
    everything: bool
    files: Names
    variables: Names
    config_hash: str
    uses: list[str]
    writable: dict[str, str]
    volumes: dict[str, Volume]
    uid: int
    gid: int
    drain_seconds: int
    grace_seconds: int
    edge_rate: EdgeRate
    edge: AppEdge


class Reads(TypedDict):
    """Names of the ConfigMap and the Secret that an environment's applications read."""

    configmaps: str
    secrets: str


class Keep(TypedDict):
    """How many backups of each span are kept."""

    daily: int
    weekly: int
    monthly: int


class S3(TypedDict):
    """Where backups go. `provider`: whose dialect rclone speaks; `cidrs`: the addresses of a named endpoint, where the inventory says them."""

    endpoint: str
    region: str
    bucket: str
    prefix: str
    provider: str
    path_style: bool
    ca_bundle: str
    cidrs: list[str]


class S3Credentials(TypedDict):
    """Where the inventory has a pair of S3 keys: names of secrets, as GROUP/NAME."""

    access_key: str
    secret_key: str


class PointInTime(Sized):
    """The archive of an environment's WAL. `hash`: of what its pod reads when it starts."""

    enabled: bool
    base_schedule: str
    base_keep: int
    max_lag_seconds: int
    hash: str


class Backup(Sized):
    """An environment's backups; an empty schedule is by hand only, and without an endpoint there are none.

    `recipients`: who can open them. `writer`: what the server makes them with; `reader`: what reads them, which may be the same.
    `scratch`: the disk that a restore or a recovery may take beside the live database. `spare_cpu`: millicores that the quota has beyond the
    environment's peak; None without a quota of CPU.
    """

    schedule: str
    time_zone: str
    keep: Keep
    s3: S3
    recipient: str | list[str]
    recipients: list[str]
    mask: list[str]
    writer: S3Credentials
    reader: S3Credentials
    point_in_time: PointInTime
    spare_cpu: int | None
    scratch: str


class RedisCopies(TypedDict):
    """A Redis that is copied to S3. `name`: `shared`, or its environment; `namespace`, `service`: where it runs; `memory`: its limit.

    `scratch`: the disk that a restore may take beside its volume.
    """

    name: str
    namespace: str
    service: str
    inventory: str
    memory: str
    scratch: str
    backup: Backup


class Releasing(TypedDict, total=False):
    """What is only there while a release lasts."""

    release: ReleaseState


class PreviewGiven(TypedDict):
    """A preview as the inventory has it."""

    of: str
    app: str
    image: str
    expires: str
    host: str
    config: dict[str, Any]


class Preview(TypedDict):
    """What a preview is to the environment that it is made from, its parent.

    - expires: seconds since the epoch.
    - namespace, network: the parent's, where its Postgres is.
    - connections: it may have to that Postgres at once.
    - parents: the names of secrets whose values are the parent's; all others are its own.
    """

    of: str
    expires: int
    namespace: str
    network: str
    connections: int
    parents: list[str]


class Previewing(TypedDict, total=False):
    """What only a preview has."""

    preview: Preview


class Environment(Space, Releasing, Previewing):
    """An environment, or a preview of one."""

    postgres: Postgres
    redis: Redis
    apps: dict[str, App]
    reads: Reads
    backup: Backup
    config: dict[str, str]
    config_json: list[str]
    config_as: str
    config_files: list[str]
    secrets: list[str]
    files: Names
    variables: Names


# --- the platform ---------------------------------------------------------------------------------------------------------------------------


class Reserved(Sizes):
    """What pods never get."""

    disk: str


class Server(Sizes):
    """The size of the server; '' if not known. `networks`: those of the cluster, `addresses`: the server's, both by their key of `k3s_config`."""

    disk: str
    pods: int
    reserved: Reserved
    networks: dict[str, list[str]]
    addresses: dict[str, list[str]]


class PrivateRegistry(TypedDict):
    """A private registry; `password` is the name of a secret."""

    username: str
    password: str


class Dns01(TypedDict):
    """Where an authority's challenges are answered by DNS. What only one provider needs is empty for the others."""

    provider: str
    region: str
    hosted_zone: str
    nameserver: str
    key_name: str
    key_algorithm: str


class Acme(TypedDict):
    """The certificate authority. `issuer`: the name of its ClusterIssuer, which another one does not have; `secrets`: the names of those it takes."""

    kind: str
    email: str
    server: str
    ca_bundle: str
    eab_key_id: str
    challenge: str
    dns: Dns01
    certificate: str
    addresses: list[str]
    check_hosts: bool
    check_limits: bool
    issuer: str
    secrets: list[str]


class Notify(TypedDict):
    """Whom the server tells; '' for nobody."""

    webhook: str


class Model(TypedDict):
    """The platform. `environments` are those of this run, and `complete` says whether these are all.

    `previews` are those of this run, too, `ended_previews` the names of those that it removes, and `waited_preview` the one that it is about;
    `preview_hosts`: environments that are not of this run, and whose Postgres has, or may have, a database of one of these.
    `names`: whose addresses the server looks up; `hosts`: those that certificates are for; `application_images`: of all that have their own.
    """

    name: str
    complete: bool
    awaits_facts: list[str]
    server: Server
    environments: dict[str, Environment]
    all_environments: dict[str, Environment]
    previews: dict[str, Environment]
    all_previews: dict[str, Environment]
    ended_previews: list[str]
    waited_preview: str
    preview_hosts: dict[str, Environment]
    namespaces: dict[str, Space]
    registries: dict[str, PrivateRegistry]
    images: list[str]
    application_images: dict[str, str]
    hosts: list[str]
    redis: SharedRedis
    redis_copies: dict[str, RedisCopies]
    all_redis_copies: dict[str, RedisCopies]
    acme: Acme
    trusted_proxies: list[str]
    s3: S3
    notify: Notify
    names: list[str]


# --- what module_utils/data/issuance.py finds in the cluster; moments are seconds since 1970, hosts are sorted and in small letters -------------


class HeldCertificate(TypedDict):
    """A Certificate of the cluster."""

    namespace: str
    name: str
    hosts: list[str]
    issuer: str
    ready: bool


class IssuedOrder(TypedDict):
    """A certificate that an authority issued."""

    hosts: list[str]
    issuer: str
    at: int


class RefusedOrder(TypedDict):
    """An order that the authority's own limits refused, with the moment from which it takes the next."""

    hosts: list[str]
    issuer: str
    until: int
    reason: str


class FailedProof(TypedDict):
    """A host that the authority could not prove; the events of the last hour have them."""

    host: str
    at: int


class Issuance(TypedDict):
    """What a cluster knows of its certificates. `issuers`: ClusterIssuer -> the moment since when it is there."""

    now: int
    issuers: dict[str, int]
    certificates: list[HeldCertificate]
    issued: list[IssuedOrder]
    refused: list[RefusedOrder]
    failed: list[FailedProof]


# --- what the filter redis_servers makes of the model, for modules --------------------------------------------------------------------------


class RedisRights(TypedDict):
    """What a Redis is to allow a user."""

    keys: str
    channels: str
    commands: list[str]


class PasswordReader(TypedDict):
    """Of an application, what says whether its pods hold a password; see App."""

    name: str
    path: str
    schedule: str
    config_hash: str
    uses: list[str]


class PasswordReaders(TypedDict):
    """Of an environment, what its applications' pods are found by."""

    namespace: str
    reads: Reads
    apps: dict[str, PasswordReader]


class RedisUserGiven(RedisRights):
    """A user of a Redis and whose it is."""

    environment: str
    in_run: bool
    applications: PasswordReaders
    name: str


class RedisServerGiven(TypedDict):
    """One Redis and its users. `ended`: previews that are over; with `complete`, a preview without a user is over as well.

    `copied`: the group of secrets whose BACKUP_KEY the copies' user is known by; '' where there are none.
    """

    namespace: str
    users: list[RedisUserGiven]
    copied: str
    ended: list[str]
    complete: bool

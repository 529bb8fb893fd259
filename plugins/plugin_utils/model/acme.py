# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where certificates come from, as network policies have to know it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import S3, Model
from ansible_collections.shaka.platform.plugins.plugin_utils.model import backup


def _endpoint(url: str) -> S3:
    return cast(S3, {"endpoint": url, "bucket": "", "path_style": True, "cidrs": []})


def names_to_resolve(server: str) -> list[str]:
    """The directory's name, whose addresses decide what cert-manager may reach; none for an address."""
    return backup.names_of(_endpoint(server), ())


def egress(server: str, model: Model, resolved: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """What a NetworkPolicy has to let cert-manager reach: the directory, and hosts of the internet that stand before the server, such as a CDN.

    :arg resolved: what the server says of `model["names"]`.
    """
    internet = backup.egress(_endpoint(""), model, {})["to"]
    web = [{"protocol": "TCP", "port": port} for port in (80, 443)]
    return [backup.egress(_endpoint(server), model, resolved), {"to": internet, "ports": web}]

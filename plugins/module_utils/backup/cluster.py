# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster is called in the paths of its Redis's copies, as a Redis has no identifier of its own."""

from __future__ import annotations

import hashlib

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl


def identifier(authority: str) -> str:
    """:arg authority: the certificate of the cluster's CA, as pods see it."""
    return hashlib.sha256(authority.encode()).hexdigest()[:16]


def ask(kubectl: Kubectl) -> str:
    """The identifier; '' where it cannot be told."""
    found, _problem = kubectl.get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt")
    authority = ((found or {}).get("data") or {}).get("ca.crt")
    return identifier(authority) if authority else ""

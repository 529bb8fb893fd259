# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kinds webhooks and policies look at when an object is written: only a dry run tells what they would make of it, or whether they refuse it."""

from __future__ import annotations

from collections.abc import Iterator

from .client import Api
from .discovery import Discovery, Resource
from .identity import group_of

GROUP = "admissionregistration.k8s.io"
KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy")


class Admission:
    """The rules of everything that takes part in admission, read once. Raises Unreachable or ApiError."""

    def __init__(self, api: Api, discovery: Discovery) -> None:
        served = [resource for (group, _plural), resource in discovery.preferred.items() if group == GROUP and resource.kind in KINDS]
        self.rules = [rule for resource in served for rule in _rules(api, resource)]

    def concerns(self, resource: Resource) -> bool:
        """Whether one of them looks at objects of this kind, in whatever namespace and version."""
        return any(
            {"*", group_of(resource.api_version)} & set(rule.get("apiGroups") or [])
            and {"*", "*/*", resource.plural} & set(rule.get("resources") or [])
            for rule in self.rules
        )


def _rules(api: Api, resource: Resource) -> Iterator[dict[str, list[str]]]:
    for each in (api.get(resource.path()) or {}).get("items") or []:
        for webhook in each.get("webhooks") or []:
            yield from webhook.get("rules") or []
        yield from ((each.get("spec") or {}).get("matchConstraints") or {}).get("resourceRules") or []

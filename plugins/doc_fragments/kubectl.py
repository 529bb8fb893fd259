# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option of the modules that go through kubectl."""

from __future__ import annotations


class ModuleDocFragment:
    """What these modules document alike."""

    DOCUMENTATION = r"""
options:
  kubectl:
    description: Command that runs kubectl on the server, as the cluster's administrator.
    type: list
    elements: str
    default: [/usr/local/bin/k3s, kubectl]
"""

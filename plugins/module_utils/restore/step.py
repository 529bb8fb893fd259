# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a step of a restore is given and answers, of databases as of a Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Credentials
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import RestorePlan

CLEAR = "clear"  # the step that has no plan

Result = dict[str, Any]  # of a step, as the module answers it


class StepParameters:
    """What is read of the module's parameters."""

    params: Mapping[str, Any]

    @property
    def plan(self) -> RestorePlan:
        return RestorePlan.read(self.params["plan"])

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.params["credentials"]["access_key"], self.params["credentials"]["secret_key"])


def run_and_exit(module: AnsibleModule, run: Callable[[dict[str, Any], bool], Result], failures: tuple[type[Exception], ...]) -> None:
    """End the module with what `run` makes of its parameters and the check mode."""
    try:
        result = run(module.params, module.check_mode)
    except failures as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)

# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The model while a release lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import release
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain

DOCUMENTATION = r"""
name: release_model
short_description: The model of one environment while a release of an application lasts
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Narrows the model to one environment, gives the application an image, and says what there is beside it. The roles' templates render what follows.
positional: environment, app
options:
  _input: {description: The fact C(platform_model)., type: dict, required: true}
  environment: {description: The environment., type: str, required: true}
  app: {description: The application., type: str, required: true}
  image: {description: Its image. Empty means that of the inventory., type: str, default: ""}
  state:
    description: "What there is beside it: C(image), C(token), C(replicas) and C(weight) of the candidate, C(migrate), C(gate)."
    type: dict
    default: {}
  counted: {description: Whether it is for the fit plan., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Have the candidate beside what runs
  ansible.builtin.set_fact:
    platform_model: "{{ platform_model | shaka.platform.release_model('prod', 'api', state={'image': image, 'replicas': 1}) }}"
"""

RETURN = r"""
_value: {description: The model., type: dict}
"""


def release_model(model: Any, environment: str, app: str, image: str = "", state: Any = None, counted: bool = False) -> dict[str, Any]:
    """The filter: plain data to the pure functions."""
    narrowed = release.with_image(plain(model, typed=True), str(environment), str(app), str(image))
    whole = release.releasing(narrowed, str(environment), str(app), plain(state, typed=True)) if state else narrowed
    return dict(release.counted(whole, str(environment), str(app)) if counted else whole)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_model": release_model}

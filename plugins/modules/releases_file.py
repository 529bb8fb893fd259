# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin releases_file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: releases_file
short_description: Write a release into the inventory
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Sets an application's image in C(platform_releases), so that the next run of the site and tonight's drift check agree with the release.
  - The rest of the file stays as it is written. One rename puts the new file in place.
  - Runs on the controller and contacts no server.
options:
  path:
    description: The file of variables, such as C(group_vars/all/releases.yml). It is made where it does not exist.
    type: path
    required: true
  environment: {description: The environment., type: str, required: true}
  app: {description: Its application., type: str, required: true}
  image: {description: Reference of the image., type: str, required: true}
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Says whether the file can be written and would change., support: full}
"""

EXAMPLES = r"""
- name: Ensure the inventory names the image that runs
  shaka.platform.releases_file:
    path: "{{ inventory_dir }}/group_vars/all/releases.yml"
    environment: prod
    app: api
    image: ghcr.io/example/api@sha256:0d0e...
"""

RETURN = r"""
path: {description: The file., returned: success, type: str}
"""

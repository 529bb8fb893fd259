# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin artifacts_lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts_lock
short_description: The artifacts lock, completed once from the upstreams and kept with the inventory
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Adds to the collection's lock what the inventory's file O(path) holds, asks the upstreams for what is still missing, and writes that to the file.
  - A file's sum is the upstream's published one where there is one, else that of its content; an image's is the digest of its index.
  - Runs on the controller, before a server is contacted. It fails with every problem at once, and then has written nothing.
options:
  lock:
    description: The collection's lock (C(roles/platform/vars/artifacts.yml)).
    type: dict
    required: true
  path:
    description: The inventory's file. An entry of another version is left out of it when it is next written.
    type: path
    required: true
  mirrors:
    description: "Host to the address that stands for it, such as C({github.com: https://mirror.example/github})."
    type: dict
    default: {}
  skip:
    description: Images that are not needed, because the inventory names its own.
    type: list
    elements: str
    default: []
  locked:
    description: Refuse what is missing instead of resolving it.
    type: bool
    default: false
  bundled:
    description: Include what only a bundle needs, such as K3s's own images.
    type: bool
    default: false
  architecture:
    description: Ask only for what servers of this architecture (V(amd64) or V(arm64)) need; empty means all.
    type: str
    default: ""
  timeout:
    description: Seconds without an answer after which an upstream is given up.
    type: int
    default: 30
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: "Reads from the upstreams, but does not write the file.", support: full}
"""

EXAMPLES = r"""
- name: Ensure the lock is complete
  shaka.platform.artifacts_lock:
    lock: "{{ platform_artifacts }}"
    path: "{{ inventory_dir }}/artifacts.lock.yml"
"""

RETURN = r"""
lock:
  description: The complete lock; its sources are the mirrors' addresses.
  returned: success
  type: dict
resolved:
  description: What was missing, as C(name (architecture)).
  returned: success
  type: list
  elements: str
"""

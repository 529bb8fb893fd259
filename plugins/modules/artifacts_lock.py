# Copyright: (c) 2026, The shaka.platform founders
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
  shipped:
    description: The collection's lock (C(roles/artifacts/files/artifacts.lock.yml)).
    type: path
    required: true
  path:
    description: The inventory's file. An entry of another version is left out of it when it is next written.
    type: path
    required: true
  mirrors:
    description: "Host to the address that stands for it, such as C({github.com: https://mirror.example/github})."
    type: dict
    default: {}
  images:
    description: Logical names of the images that the platform uses; one that is still to be named gets a stand-in.
    type: list
    elements: str
    default: []
  overrides:
    description: Logical name to the reference that the inventory names in place of the lock's, of which then no digest is needed.
    type: dict
    default: {}
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
    shipped: "{{ role_path }}/files/artifacts.lock.yml"
    path: "{{ inventory_dir }}/artifacts.lock.yml"
"""

RETURN = r"""
lock:
  description: The complete lock.
  returned: success
  type: dict
references:
  description: Logical name to the reference of every image.
  returned: success
  type: dict
resolved:
  description: What was missing, as C(name (architecture)).
  returned: success
  type: list
  elements: str
"""

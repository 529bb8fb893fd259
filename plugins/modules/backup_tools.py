# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin backup_tools."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_tools
short_description: The backup tools and their image, ready on the controller
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Takes the programs out of the lock's archives below C(tools/), and packs them into an image on nothing else, an archive for K3s's C(agent/images).
  - It is made once for a lock and an architecture, and kept in the user's cache directory (C(shaka-platform/tools)). Equal files make equal bytes.
  - It returns them as M(shaka.platform.artifact_files) takes them, and changes nothing itself.
options:
  lock:
    description: The complete lock (RV(shaka.platform.artifacts_lock#module:lock)).
    type: dict
    required: true
  architecture:
    description: The server's machine name, such as V(x86_64) or V(aarch64).
    type: str
    required: true
  bundle:
    description: Directory of the bundle on the controller, which has the archives; empty to fetch them from their upstreams.
    type: str
    default: ""
  mirrors:
    description: Host to the address that stands for it, as in M(shaka.platform.artifacts_lock).
    type: dict
    default: {}
  timeout:
    description: Seconds without an answer after which an upstream is given up.
    type: int
    default: 30
  programs:
    description: Directory on the server for the programs.
    type: str
    required: true
  images:
    description: Directory on the server for the image's archive.
    type: str
    required: true
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: "The same, as only the controller's cache is written.", support: full}
"""

EXAMPLES = r"""
- name: Ensure the controller has the backup tools and their image
  shaka.platform.backup_tools:
    lock: "{{ platform_artifacts }}"
    architecture: "{{ ansible_facts.architecture }}"
    bundle: "{{ platform_bundle }}"
    programs: /var/lib/shaka/tools
    images: /var/lib/rancher/k3s/agent/images
  register: tools
"""

RETURN = r"""
files:
  description: Entries with C(name), C(src), C(dest), C(sha256) and C(mode).
  returned: success
  type: list
  elements: dict
"""

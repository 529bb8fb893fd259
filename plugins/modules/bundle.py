# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: Pack all that a server without internet needs into one directory
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Downloads the lock's files and the images for one architecture to a directory on the controller, which C(platform_bundle) then names.
  - What is there with the right sum is not fetched again. A file gets its place once its sum is verified, and the bundle's own lock is written last.
  - An image is read from its registry by digest and packed as an archive for K3s's C(agent/images), with the registry's own manifests, so that pods
    name it as they would on a server with internet. A tag is resolved once; delete its archive to have it resolved again.
  - Files in C(bin), C(images), C(manifests) and C(wheels) that the bundle no longer needs are removed; a directory with other things is refused.
  - The passwords of registries are read from C(platform_secrets.registries), and are in no argument and no file.
options:
  path:
    description: The bundle's directory, an absolute path on the controller.
    type: path
    required: true
  architecture:
    description: The servers' architecture, V(amd64) or V(arm64).
    type: str
    required: true
  lock:
    description: The complete lock (RV(shaka.platform.artifacts_lock#module:lock)).
    type: dict
    required: true
  requirements:
    description: pip's requirements file of the server's Python environment; its wheels are packed for every Python that a server may have.
    type: path
    required: true
  images: {description: Logical name to the image's reference., type: dict, required: true}
  applications:
    description: An application's name and its environment's, joined by an underscore, to the reference of its image.
    type: dict
    default: {}
  registries:
    description: Private registry's host to C(username) and C(password), the name of its password in C(platform_secrets.registries).
    type: dict
    default: {}
  mirrors:
    description: Host to the address that stands for it, as in M(shaka.platform.artifacts_lock).
    type: dict
    default: {}
  timeout:
    description: Seconds without an answer after which an upstream is given up.
    type: int
    default: 30
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode:
    description: Says what would be fetched and removed; writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Ensure the bundle is complete
  shaka.platform.bundle:
    path: /srv/shaka-bundle
    architecture: amd64
    lock: "{{ completed.lock }}"
    requirements: "{{ role_path }}/files/requirements-server.txt"
    images: "{{ platform_images }}"
"""

RETURN = r"""
fetched:
  description: Names of the files and archives that were missing.
  returned: success
  type: list
  elements: str
removed:
  description: Files that the bundle no longer needs.
  returned: success
  type: list
  elements: str
"""

# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a step of a restore of a Redis on the server, as that of databases is run."""

from __future__ import annotations

from ansible_collections.shaka.platform.plugins.action import database_restore


class ActionModule(database_restore.ActionModule):
    """See the module's documentation."""

    module = "shaka.platform.redis_restore"

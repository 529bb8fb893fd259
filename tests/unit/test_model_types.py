"""The model's types have each key that an inventory may set, as the roles' argument_specs describe it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from ansible_collections.shaka.platform.plugins.module_utils import model_types
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import SHARED, Options, argument_specs, interface

TYPES: dict[str, type] = {
    "environment": model_types.Environment,
    "app": model_types.App,
    "volume": model_types.Volume,
    "namespace": model_types.Space,
    "registry": model_types.PrivateRegistry,
    "preview": model_types.PreviewGiven,
    "platform_acme": model_types.Acme,
    "platform_notify": model_types.Notify,
    "platform_redis": model_types.SharedRedis,
    "platform_s3": model_types.S3,
    "platform_server": model_types.Server,
}
KINDS = {"str": str, "int": int, "bool": bool, "float": float, "list": list, "dict": dict}


def differing(options: Options, typed: type, path: str) -> Iterator[str]:
    """The keys that a type lacks or has as something else."""
    hints = get_type_hints(typed)
    for name, option in options.items():
        hint: Any = hints.get(name)
        choices = [hint, *get_args(hint)] if get_origin(hint) not in (list, dict) else [hint]  # the parts of `list[str] | None`
        items = [item for choice in choices for item in get_args(choice) if is_typeddict(item)] or [hint]
        if option.get("options") and is_typeddict(items[0]):
            yield from differing(option["options"], items[0], f"{path}.{name}")
        elif KINDS.get(option["type"]) not in (None, *(get_origin(choice) or choice for choice in choices)):
            yield f"{path}.{name} is {option['type']} in argument_specs.yml, and {hint} in {typed.__name__}"


@pytest.mark.parametrize("entry", interface().dictionaries)
def test_what_an_inventory_may_set_is_in_the_models_types(entry: str) -> None:
    own = argument_specs()[SHARED].get(entry, {}).get("options", {})
    hints = get_type_hints(TYPES[entry])
    # a workload that the model knows nothing of has its key without a type
    options = {name: option for name, option in interface().dictionaries[entry].items() if name in hints or name in own or entry != "environment"}
    assert list(differing(options, TYPES[entry], entry)) == []

"""Options of an adapter that begins with another one: the other's shape, where they give none."""

from __future__ import annotations

from typing import Any

from adapterhub.specs import AdapterSpec
from adapterhub.training.adapters.methods import ALPHAS, VARIANTS
from adapterhub.training.adapters.options import AdapterOptions


def taken_over(options: AdapterOptions, spec: AdapterSpec) -> AdapterOptions:
    """Returns options with the shape of an adapter wherever they do not say another one."""
    given = options.model_fields_set
    if not isinstance(options.method, str):
        return options  # A PEFT config says all of it.
    shape: dict[str, Any] = {
        "method": _name_of(spec),
        "from_depth": spec.from_depth,
        "sites": spec.sites,
        "tie_depths": spec.tie_depths,
        "rank": spec.config.get("r"),
        "alpha": _alpha_of(spec),
    }
    changes = {n: value for n, value in shape.items() if value is not None and n not in given}
    if options.from_depths is not None:
        changes.pop("from_depth", None)
    return options.model_copy(update=changes)


def _name_of(spec: AdapterSpec) -> str:
    """Returns the name by which `config_for` makes an adapter like this one."""
    for name, (method, settings) in VARIANTS.items():
        if spec.method == method and all(spec.config.get(k) == v for k, v in settings.items()):
            return name
    return spec.method


def _alpha_of(spec: AdapterSpec) -> float | None:
    """Returns its scale in PEFT's sense, where its method has one."""
    found = next((spec.config[name] for name in ALPHAS if name in spec.config), None)
    return float(found) if isinstance(found, int | float) else None

"""Whether a PEFT adapter was trained on the backbone that it is imported for, by its own word.

Weights of the same shape fit any backbone of that size, and compute something else on each.
"""

from __future__ import annotations

import os
import re
import warnings

from adapterhub.errors import AdapterError, AdapterHubError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.backbone.sources import is_folder
from adapterhub.peft.folder import PeftFolder, models_of
from adapterhub.specs import identity
from adapterhub.store.paths import absolute_path

_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_family(peft: PeftFolder, backbone: Backbone) -> None:
    """Checks that the tensors of an adapter are named as in a model of the backbone's family.

    Raises:
        AdapterError: They are of another family, whose maps are not those of the backbone.
    """
    family = backbone.spec.family
    if peft.families and family not in peft.families:
        raise AdapterError(
            peft.path,
            f"its tensors are named as those of {models_of(peft.families)}; the backbone "
            f"{backbone.spec.name} has those of {models_of((family,))}. Use the backbone that it "
            f"was trained on (--backbone).",
        )


def check_base(peft: PeftFolder, backbone: Backbone) -> None:
    """Checks the base model that an adapter names; warns where it cannot be told.

    Raises:
        AdapterError: It is another one than the backbone.
    """
    named, revision = peft.config.get("base_model_name_or_path"), peft.config.get("revision")
    if not isinstance(named, str) or not named.strip():
        _warn(peft, "does not say on which model it was trained", backbone)
        return
    # As transformers reads it: a folder, where there is one of this name.
    if is_folder(named) or os.path.isdir(named):
        other = _fingerprint(named)
        if other is None:
            _warn(peft, f"was trained on '{named}', which cannot be opened here", backbone)
        elif other != backbone.spec.fingerprint:
            _refuse(peft, f"{named} ({other[:19]}…)", backbone)
        return
    if not _same_name(named, backbone.spec.name):
        _refuse(peft, named, backbone)
    own = backbone.spec.revision
    commits = [str(one) for one in (revision, own) if one and _COMMIT.fullmatch(str(one))]
    if len(commits) == 2 and commits[0] != commits[1]:
        _refuse(peft, f"{named} at {revision}", backbone)


def _same_name(named: str, own: str) -> bool:
    """Returns whether two names may be of one model; a name without owner fits any owner."""
    one, other = (name.removeprefix("package:").casefold().rstrip("/") for name in (named, own))
    if "/" in one and "/" in other:
        return one == other
    return one.rpartition("/")[2] == other.rpartition("/")[2]


def _fingerprint(folder: str) -> str | None:
    path = os.path.expanduser(folder)
    if not os.path.isdir(path):
        return None
    try:
        return open_backbone(absolute_path(path)).spec.fingerprint
    except AdapterHubError:
        # Not a backbone, or no longer one: nothing can be compared.
        return None


def _refuse(peft: PeftFolder, named: str, backbone: Backbone) -> None:
    raise AdapterError(
        peft.path,
        f"it was trained on {named[:200]}, the backbone is {identity(backbone.spec)}. Import it on "
        f"the backbone that it was trained on; if this is that one under another name, say so with "
        f"--any-base (any_base=True).",
    )


def _warn(peft: PeftFolder, problem: str, backbone: Backbone) -> None:
    warnings.warn(
        f"Adapter {peft.path} {problem[:300]}. Unless that is the backbone {backbone.spec.name}, "
        f"its predictions mean nothing.",
        stacklevel=5,
    )

"""Models in folders and repositories, in the conventions of ``huggingface_hub``.

The functions stand behind `save_pretrained`, `from_pretrained` and `push_to_hub` of every layer. A
folder needs nothing; a repository needs the extra `hub`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from elegans.arguments import checked, shown
from elegans.checkpoints.saving import CONFIG, WEIGHTS, WIRING, Saved, layer_folders, load, save
from elegans.checks import Device
from elegans.errors import InputError, MissingExtraError, RunError
from elegans.extras import require_extra
from elegans.files import write_bytes, writing
from elegans.layers.readout import circuit_of
from elegans.layers.stacked import Stacked

EXTRA = "hub"
CARD = "README.md"
FILES = tuple(
    f"{folder}{file}" for folder in ("", "layer-*/") for file in (CONFIG, WIRING, WEIGHTS)
)

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_OPTIONS = (
    "commit_message",
    "private",
    "token",
    "branch",
    "create_pr",
    "allow_patterns",
    "ignore_patterns",
    "delete_patterns",
)

M = TypeVar("M", bound=Saved)


@checked(InputError)
def save_pretrained(
    model: Saved,
    save_directory: str | os.PathLike[str],
    *,
    repo_id: str | None = None,
    push_to_hub: bool = False,
    **options: Any,
) -> str | None:
    """Save a model into a folder, and push it where asked; see `SequenceLayer.save_pretrained`.

    Examples
    --------
    >>> import elegans
    >>> save_pretrained(elegans.LTC(3, 8), "circuit")
    >>> sorted(os.listdir("circuit"))
    ['README.md', 'config.json', 'model.safetensors', 'wiring.json']
    """
    folder = Path(save_directory)
    _check_options(options)
    if push_to_hub:
        require_extra("huggingface_hub", EXTRA)  # before anything is written
    _check_kind(model)
    save(model, folder, overwrite=True)
    is_own = os.path.lexists(folder / CARD)
    if not is_own:
        with writing(folder / CARD):
            write_bytes(folder / CARD, _card(model).encode())
    if not push_to_hub:
        return None
    return _upload(folder, repo_id or folder.resolve().name, is_own, options)


@checked(InputError)
def push_to_hub(model: Saved, repo_id: str, **options: Any) -> str:
    """Upload a model to a repository; see `SequenceLayer.push_to_hub`."""
    _check_options(options)
    require_extra("huggingface_hub", EXTRA)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        return _upload(Path(folder), repo_id, False, options)


@checked(InputError)
def from_pretrained(
    kind: type[M],
    name: str | os.PathLike[str],
    *,
    device: Device = None,
    **download: Any,
) -> M:
    """Return a model of a class from a folder or a repository; see `LTC.from_pretrained`.

    Examples
    --------
    >>> import elegans
    >>> elegans.save(elegans.LTC(3, 8), "circuit")
    >>> from_pretrained(elegans.LTC, "circuit").state_size
    8
    """
    folder = Path(name)
    if isinstance(name, str) and not os.path.exists(name) and _REPOSITORY.fullmatch(name):
        folder = _download(name, download)
    model = load(folder, device=device)
    expected = vars(kind).get("saved_as") or kind
    if not isinstance(model, expected):
        raise RunError(
            f"{name}: got a saved {type(model).__name__}, expected one of {expected.__name__}; "
            f"call {type(model).__name__}.from_pretrained, or elegans.load, which takes any"
        )
    loaded: M = model.eval()
    return loaded


def _check_kind(model: Any) -> None:
    if not isinstance(model, Saved):
        raise RunError(
            f"got a {type(model).__name__}, expected a layer, a Readout or a Stacked, whose "
            "settings build it again; save model.state_dict() with safetensors instead"
        )


def _check_options(options: dict[str, Any]) -> None:
    for name in options:
        if name not in _OPTIONS:
            raise InputError(
                f"got the unknown keyword {name!r}, expected one of {', '.join(_OPTIONS)}; leave "
                "it out"
            )


def _download(name: str, options: dict[str, Any]) -> Path:
    try:
        hub = require_extra("huggingface_hub", EXTRA)
    except MissingExtraError as error:
        raise MissingExtraError(
            f"there is no folder {name!r}, and to download it: {error}"
        ) from error
    with _refusals(f"{name}: there is no such folder, and"):
        # A repository may hold more, such as the checkpoints of a run.
        return Path(hub.snapshot_download(name, allow_patterns=[*FILES], **options))


def _upload(folder: Path, repo_id: str, is_own_card: bool, options: dict[str, Any]) -> str:
    """Upload the files of a model; a card that was made here replaces none that is there."""
    hub, options = require_extra("huggingface_hub", EXTRA), dict(options)
    api = hub.HfApi(token=options.pop("token", None))
    private, branch = options.pop("private", None), options.pop("branch", None)
    options = {
        "commit_message": "Push a model of elegans",
        "allow_patterns": [*FILES, CARD],
    } | options
    with _refusals(f"{repo_id}:"):
        repo_id = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
        if not is_own_card and api.file_exists(repo_id, CARD, revision=branch):
            given = options.get("ignore_patterns") or []
            options["ignore_patterns"] = [*([given] if isinstance(given, str) else given), CARD]
        return str(
            api.upload_folder(
                repo_id=repo_id,
                repo_type="model",
                folder_path=folder,
                revision=branch,
                **options,
            )
        )


@contextmanager
def _refusals(beginning: str) -> Iterator[None]:
    """Raise `RunError` in place of the errors of the hub: of its network and of its names."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise RunError(
            f"{beginning} the hub answered {shown(str(error))}, expected a repository; check its "
            "name, the revision, the token and the network"
        ) from error


def _card(model: Saved) -> str:
    """Return a model card: what the model is, and how it is loaded."""
    kind = (vars(type(model)).get("saved_as") or type(model)).__name__
    if isinstance(model, Stacked):
        layers = list(layer_folders(model, Path()).values())
        names = " and ".join(dict.fromkeys(type(layer).__name__ for layer in layers))
        is_of = f"{len(layers)} layers of {names}"
    else:
        layers = [circuit_of(model)]
        is_of = type(layers[0]).__name__
    neurons = sum(layer.state_size for layer in layers)
    return f"""---
library_name: elegans
tags:
- liquid-neural-networks
- time-series
---

# {kind}

{is_of} with {model.input_size} inputs, {neurons} neurons and {model.output_size} outputs.

```python
import elegans

model = elegans.{kind}.from_pretrained("...")  # this folder, or owner/name on the hub
```
"""

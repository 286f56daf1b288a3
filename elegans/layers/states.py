"""States that are loaded whole or not at all, and models that are shared as folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor, nn

from elegans.errors import InputError


@contextmanager
def all_or_nothing(module: nn.Module) -> Iterator[None]:
    """Give parameters and buffers of a module back if what is done in the block fails.

    `load_state_dict` of PyTorch copies what fits before it raises an error about the rest. Layers
    and cells of this library do not; a module of one's own that holds some is kept whole by this.
    It takes a copy of the state meanwhile.

    Parameters
    ----------
    module
        Any module, whose sub-modules stay the same in the block.

    Examples
    --------
    >>> import elegans
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> before = net[0].weight.clone()
    >>> damaged = {**nn.Sequential(nn.Linear(2, 3)).state_dict(), "1.weight": torch.ones(9, 9)}
    >>> try:
    ...     with all_or_nothing(net):
    ...         net.load_state_dict(damaged, strict=False)
    ... except RuntimeError:
    ...     print(torch.equal(net[0].weight, before))
    True
    """
    held: list[dict[str, Any]] = [
        place for part in module.modules() for place in (part._parameters, part._buffers)
    ]
    places = [(place, dict(place)) for place in held]
    tensors = {id(t): t for _, before in places for t in before.values() if t is not None}
    # With their attributes: a buffer of connections carries the checksum that belongs to it.
    kept = [(t, t.detach().clone(), dict(vars(t))) for t in tensors.values()]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, values, attributes in kept:
                if not tensor.is_meta:
                    tensor.copy_(values)
                vars(tensor).clear()
                vars(tensor).update(attributes)
        for place, before in places:
            place.clear()
            place.update(before)
        raise


def check_shapes(module: nn.Module, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise `InputError` unless tensors saved under `prefix` have the shapes of those of `module`.

    PyTorch says so, too, but after it has loaded all else: connections beside values of others.
    """
    for own in (module.named_parameters(), module.named_buffers()):
        for name, tensor in own:
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and saved.shape != tensor.shape:
                raise InputError(
                    f"the saved state holds {prefix}{name} of shape {tuple(saved.shape)}, this "
                    f"layer has {tuple(tensor.shape)}; build the layer with the sizes, the mode "
                    "and the wiring the state was saved with"
                )


class WholeStates(nn.Module):
    """A module whose `load_state_dict` loads everything or, with an error, nothing."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load a state as PyTorch does, but nothing of it if there is an error.

        Without `strict`, keys that are missing or unexpected are returned and all else is loaded;
        connections of synapses without all of their values, and values without their connections,
        are refused in any case.

        Raises
        ------
        InputError
            The state does not fit the circuit, or is damaged.
        RuntimeError
            Of PyTorch: keys are missing or unexpected.
        """
        with all_or_nothing(self):
            return super().load_state_dict(state_dict, strict, assign)


class Shared(WholeStates):
    """A model with the methods that users of ``huggingface_hub`` know."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Save into a folder, as `elegans.save` does, over a model that was saved there before.

        Beside the three files lies a `README.md` that says how the model is loaded, unless there
        is one already.

        Parameters
        ----------
        save_directory
            Made if it does not exist.
        repo_id
            Where to push, such as ``"owner/name"``; the name of the folder by default.
        push_to_hub
            Whether to upload the folder, too; needs the extra `hub`.
        **push_to_hub_kwargs
            As in `push_to_hub`.

        Returns
        -------
        str or None
            What the hub answers to a push: the address of the commit.

        Raises
        ------
        RunError
            As `elegans.save`, or the hub refuses.
        MissingExtraError
            `push_to_hub` without ``huggingface_hub``; nothing is written.

        Examples
        --------
        >>> import elegans
        >>> elegans.LTC(3, 8).save_pretrained("circuit")
        >>> elegans.LTC.from_pretrained("circuit").state_size
        8
        """
        answer: str | None = _hub().save_pretrained(
            self, save_directory, repo_id=repo_id, push_to_hub=push_to_hub, **push_to_hub_kwargs
        )
        return answer

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: Any = None,
    ) -> Self:
        """Return a model of this class from a folder, or from a repository of the hub.

        As with other models of the hub it is in evaluation mode; `elegans.load` returns any class,
        in training mode.

        Parameters
        ----------
        pretrained_model_name_or_path
            A folder that `save_pretrained`, `elegans.save` or a training has written; where there
            is none of that name, a repository such as ``"owner/name"``, with the extra `hub`.
        revision, cache_dir, force_download, local_files_only, token
            Of the download, as in ``huggingface_hub.snapshot_download``.
        device
            Where the parameters shall live; the CPU by default.

        Raises
        ------
        RunError
            The saved model is of another class, a file is missing or damaged, or the hub has no
            such model.
        MissingExtraError
            It is no folder, and ``huggingface_hub`` is not installed.

        Examples
        --------
        >>> import elegans
        >>> elegans.CfC(3, 8).save_pretrained("circuit")
        >>> elegans.CfC.from_pretrained("circuit").training
        False
        """
        model: Self = _hub().from_pretrained(
            cls,
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            device=device,
        )
        return model

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model to a repository of the hub, which is made if there is none.

        Parameters
        ----------
        repo_id
            Such as ``"owner/name"``.
        **options
            ``commit_message``, ``private``, ``token``, ``branch``, ``create_pr``,
            ``allow_patterns``, ``ignore_patterns``, ``delete_patterns``, as in
            ``huggingface_hub.PyTorchModelHubMixin``.

        Returns
        -------
        str
            What the hub answers: the address of the commit.

        Raises
        ------
        InputError
            An option is unknown.
        RunError
            The layer cannot be saved, or the hub refuses.
        MissingExtraError
            ``huggingface_hub`` is not installed.
        """
        address: str = _hub().push_to_hub(self, repo_id, **options)
        return address


def _hub() -> Any:
    return import_module("elegans.checkpoints.hub")  # above this floor

"""Weights on Hugging Face's hub: `hf://owner/name[@revision][/folder]`, fetched once into that library's own cache."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from pose_priors import __version__
from pose_priors.configs.base import UserError, reason_of
from pose_priors.priors.weights.folder import CONFIG, WEIGHTS

_SCHEME = re.compile("hf:/{1,2}")  # a Path keeps one slash of two
_NAME = r"[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"({_NAME}/{_NAME})(?:@([\w.%+-]+))?((?:/{_NAME})*)/?", re.ASCII)


def is_address(source: str) -> bool:
    """Whether it names something on the hub."""
    return _SCHEME.match(source) is not None


def fetched(address: str) -> Path:
    """The folder of weights and their description at an address, in the hub's cache on this disk; what is there is not fetched again.

    Args:
        address: `hf://owner/name`, with `@` and a branch, tag or commit (`%2F` for a slash in it), and the path of a folder in the
            repository, where they are not `main` and its top. Only `config.json` and `model.safetensors` are ever fetched.
    Raises:
        UserError: if it is no such address, the library is missing, or the files cannot be had: none such, private, or no network.
    """
    found = _ADDRESS.fullmatch(_SCHEME.sub("", address, count=1))
    if found is None:
        raise UserError(f"{address}: no address on the hub; write hf://owner/name, hf://owner/name@revision or hf://owner/name/folder")
    repository, revision, inside = found[1], unquote(found[2] or "main"), found[3].strip("/")
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors
    except ModuleNotFoundError as error:
        raise UserError(f"{address}: {error.name} is missing, which fetches from the hub; pip install 'pose-priors[hub]'") from error

    def fetch(name: str, commit: str) -> Path:
        path = hub.hf_hub_download(
            repository, f"{inside}/{name}".lstrip("/"), revision=commit, library_name="pose-priors", library_version=__version__
        )
        return Path(path)

    try:
        config = fetch(CONFIG, revision)
        commit = config.parents[len(inside.split("/")) if inside else 0].name  # a branch may have moved meanwhile
        return fetch(WEIGHTS, commit).parent
    except errors.GatedRepoError as error:
        raise UserError(f"{address}: its owner lets in who asks for it; ask at huggingface.co/{repository}, then: hf auth login") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{address}: no such repository, or a private one; check the name, or log in: hf auth login") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{address}: the repository has no revision {revision}; give a branch, tag or commit of it") from error
    except errors.LocalEntryNotFoundError as error:  # before EntryNotFoundError, which it is too
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else reason_of(error.__cause__ or error)
        raise UserError(f"{address}: not in the cache ({constants.HF_HUB_CACHE}), and the hub cannot be asked ({reason})") from error
    except errors.EntryNotFoundError as error:
        where = f"the folder {inside} of it" if inside else "its top folder"
        raise UserError(
            f"{address}: {where} lacks {CONFIG} or {WEIGHTS}; pose-priors export-model CKPT --format safetensors writes both"
        ) from error
    except Exception as error:  # of a network, a disk, or a library of theirs
        raise UserError(f"{address}: cannot be fetched ({reason_of(error)})") from error

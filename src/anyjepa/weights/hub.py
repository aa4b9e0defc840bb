"""The Hugging Face Hub: download and upload folders, with errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyjepa.errors import InputError, reason

PREFIX = "hf:"
ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def hub_id(name: object) -> str | None:
    """The Hugging Face id in 'hf:owner/name', or in 'owner/name' if no local path has that name; None for paths."""
    if not isinstance(name, str):
        return None
    bare = name.removeprefix(PREFIX)
    if not ID.fullmatch(bare):
        return None
    here = Path(bare)
    return bare if bare != name or not (here.exists() or here.parent.exists()) else None


def download(repository: str, files: Iterable[str]) -> Path:
    """Download those of `files` that a repository has, and return their folder; files are cached. Raises InputError."""
    from huggingface_hub import snapshot_download  # imports slowly

    with _explained(repository):
        return Path(snapshot_download(repository, allow_patterns=list(files)))


def names_in(repository: str) -> list[str]:
    """List the files of a repository. Raises InputError."""
    from huggingface_hub import HfApi

    with _explained(repository):
        return HfApi().list_repo_files(repository)


def upload(folder: Path, repository: str, replaces: Iterable[str], private: bool) -> str:
    """Upload a folder in one commit, and create the repository if it is new. Returns its address.

    replaces: files that are removed from the repository if the folder does not have them. private: whether only its
    owner sees a new repository; an old one stays as it is. Raises InputError, also without a token.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise InputError(
            f"{repository}: uploading needs a token of the Hugging Face Hub; run 'hf auth login', or set HF_TOKEN"
        )
    hub = HfApi()
    with _explained(repository):
        created = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Upload a model of anyjepa",
            delete_patterns=list(replaces),
        )
    return str(created)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except InputError:
        raise
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{repository}: there is no such repository on the Hugging Face Hub, or your token may not see it; "
            "check the name, or run 'hf auth login'"
        ) from error
    except HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        if code in (401, 403):
            raise InputError(
                f"{repository}: the Hugging Face Hub refuses your token; it needs the right to write to this repository"
            ) from error
        raise InputError(f"{repository}: the Hugging Face Hub answered with an error: {reason(error)}") from error
    except Exception as error:  # no network, or offline mode; the type depends on the version of the library
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise InputError(f"{repository}: the Hugging Face Hub cannot be reached ({reason(cause)})") from error

"""Download a published set once and check its MD5."""

from __future__ import annotations

import os
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from anyjepa.data.images.sets.cifar import LAYOUTS, md5_of
from anyjepa.errors import InputError, did_you_mean

SITE = "https://www.cs.toronto.edu/~kriz"
SETS = {layout.name: layout for layout in LAYOUTS if not layout.meta}  # the layout without pickles
TIMEOUT_S = 30.0
LARGEST = 2**28  # bytes; the archives have about 170 MB


def download(name: str, output: Path | None = None) -> Path:
    """The archive of 'cifar10' or 'cifar100', in the folder `output` or else the user's cache.

    Resumes an interrupted download. Raises InputError, which without a network says what to do by hand.
    """
    if name not in SETS:
        raise InputError(f"data set '{name}' cannot be downloaded{did_you_mean(name, SETS)}")
    folder, archive, md5 = output or cache_folder(), SETS[name].archive, SETS[name].md5
    target, partial, url = folder / archive, folder / f"{archive}.part", f"{SITE}/{archive}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if md5_of(target) != md5:
                raise InputError(f"{target}: is not the published {archive} (MD5 {md5}); remove it")
            return target
        _fetch(url, partial)
        if (digest := md5_of(partial)) != md5:
            partial.unlink()
            raise InputError(f"{url}: came with MD5 {digest}, not the published {md5}; nothing was kept")
        partial.replace(target)
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{url}: cannot be fetched ({reason}); download it elsewhere (MD5 {md5}), copy it to {target} "
            f"and pass --data {target}"
        ) from None
    except OSError as error:
        raise InputError(f"{target}: stopped ({error.strerror or error}); run the command again to resume") from None
    return target


def cache_folder() -> Path:
    """Default folder for downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anyjepa" / "data"


def _fetch(url: str, partial: Path) -> None:
    """Write the content of `url`, after what a partial download has left if the server supports ranges."""
    if partial.is_symlink():  # the name is predictable, so a link could redirect the download
        raise InputError(f"{partial}: is a symbolic link; remove it")
    there = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            with partial.open("ab" if answer.status == 206 else "wb") as file:
                while block := answer.read(2**20):
                    if file.tell() > LARGEST:
                        raise ConnectionError(f"it sends more than {LARGEST >> 20} MB, more than any published archive")
                    file.write(block)
            if answer.length:  # bytes promised, but not sent
                raise ConnectionError("the connection ended early; run the command again to resume")
    except HTTPError as error:
        error.close()
        if error.code != 416:  # 416: all of it is there
            raise

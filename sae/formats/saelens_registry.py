"""SAEs that SAELens' registry names: `saelens:RELEASE/ID`, such as `saelens:gpt2-small-res-jb/blocks.8.hook_resid_pre`.

SAELens itself downloads and converts them; it is asked to save what it loaded as a folder of its own, and that is read
as any folder from elsewhere is. The package is no requirement: it is large, and needs versions of its own.
"""

from __future__ import annotations

from pathlib import Path

from sae.common.errors import UserError

PREFIX = "saelens:"
INSTALL = "pip install sae-lens, in an environment that has this project too"


def is_named(path: str | Path) -> bool:
    """Whether a path is an address in the registry."""
    return str(path).startswith(PREFIX)


def fetch(address: str, folder: Path) -> Path:
    """Have SAELens load an SAE and save it into `folder`.

    Args:
        address: `saelens:RELEASE/ID`; the release has no `/`, the id may.

    Returns:
        `folder`, which then is a SAELens folder.

    Raises:
        UserError: without SAELens, for a release or an id that its registry doesn't have, and for whatever it says
            when it can't load one.
    """
    release, _, name = address.removeprefix(PREFIX).partition("/")
    try:
        from sae_lens import SAE  # type: ignore[import-not-found, unused-ignore]
        from sae_lens.loading.pretrained_saes_directory import (  # type: ignore[import-not-found, unused-ignore]
            get_pretrained_saes_directory,
        )
    except ImportError as error:
        raise UserError(f"{address!r} needs SAELens, which is not installed here ({error}): {INSTALL}") from None
    releases = get_pretrained_saes_directory()
    # SAELens takes any repository of the hub for a release; here only what is registered.
    if release not in releases:
        raise UserError(f"SAELens' registry has no release {release!r}: give saelens:RELEASE/ID, as its list has them")
    ids = releases[release].saes_map
    if name not in ids:
        some = ", ".join(repr(one) for one in list(ids)[:3])
        raise UserError(f"release {release!r} has no SAE {name!r}: it has {len(ids):,}, such as {some}")
    try:
        SAE.from_pretrained(release, name, device="cpu").save_model(folder)
    except Exception as error:  # the network, the hub, and each of its loaders fail in ways of their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"SAELens can't load {name!r} of {release!r}: {first}") from None
    return folder

"""Whether the hub answers: one look, before packages that look for every file five times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled


def silence(
    repository: str, file: str, *, revision: str | None = None, kind: str | None = None
) -> str:
    """Why the hub cannot be asked about a repository; empty where it answers, whatever it says.

    Args:
        repository: ``owner/name``.
        file: One of its files, which need not be there.
        revision: Branch, tag or commit.
        kind: ``dataset``, or None for a model.
    """
    try:
        url = hf_hub_url(repository, file, revision=revision, repo_type=kind)
        get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HfHubHTTPError, HFValidationError):
        return ""  # an answer: who asks for the files says what it means
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    # which classes the hub's client raises depends on its version
    except Exception as error:
        said = str(error) or type(error).__name__
        return f"there is no connection to {constants.ENDPOINT}: {said}"
    return ""


@contextmanager
def asking(is_open: bool, *packages: ModuleType) -> Iterator[None]:
    """Surrounds what loads files: where the hub does not answer, nothing asks it again.

    Args:
        is_open: Whether the hub answers.
        packages: Modules of other packages that hold ``HF_HUB_OFFLINE`` as the hub's client does.
    """
    modules = (constants, *packages)
    before = [vars(module)["HF_HUB_OFFLINE"] for module in modules]
    # a parameter like `local_files_only` does not reach each of the files that are looked for
    for module, is_offline in zip(modules, before, strict=True):
        vars(module)["HF_HUB_OFFLINE"] = is_offline or not is_open
    try:
        yield
    finally:
        for module, is_offline in zip(modules, before, strict=True):
            vars(module)["HF_HUB_OFFLINE"] = is_offline

"""Write a repository of ``custom_generate``, or a model that has a method switched on."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import snapshot_download

from lvlmsal import __version__
from lvlmsal.adapters.loading import load_outline
from lvlmsal.adapters.sources import Source
from lvlmsal.decoders.combination import check_combination
from lvlmsal.decoders.search import Greedy
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.hub.methods import Method, Spec, method_specs, registry_of
from lvlmsal.hub.readme import readme
from lvlmsal.registry import CheckpointCard

_GENERATE = '''"""{title}, by the Python package lvlmsal: README.md says more."""

METHOD = {method!r}


def generate(*args, model, method=METHOD, **options):
    """`generate` of transformers with the method switched on; `alpha=...` sets an option of it."""
    from lvlmsal import hub

    options.update(zip(("inputs", "generation_config"), args))
    return hub.generate(model, method=method, **options)
'''
_WEIGHTS = "*.safetensors"
_COPIED = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.codes", "*.py", "LICENSE*")
"""What belongs to a checkpoint next to its weights; pickled weights and other forms stay away."""
MODEL_README = "MODEL_README.md"


def export(
    folder: str | Path,
    method: Method | None = None,
    *,
    model: str | None = None,
    copy_weights: bool = False,
) -> Path:
    """Write a folder that transformers takes as ``custom_generate=`` or, with a model, as a model.

    Args:
        folder: to be made; one that is there must be empty.
        method: as for :func:`lvlmsal.hub.generate`; None lets the caller choose by ``method=``.
        model: catalog name, hub id or folder of a checkpoint. Its files are copied, and its weights
            linked: loaded with ``trust_remote_code=True``, ``model.generate`` of the folder has the
            method switched on. Options that the catalog has for the checkpoint are written down.
        copy_weights: copy the weights, too, so that the folder stands on its own.

    Returns:
        The folder.

    Raises:
        ConfigError: a wrong option.
        DataError: the folder is not empty or cannot be written, or a checkpoint lacks files.
        UnknownName: an unknown method or model.
        UnsupportedError: methods that do not go together, a model without an adapter or a method,
            or an adapter (LoRA) that is not merged.
    """
    folder = Path(folder)
    _refuse_used(folder)
    if model is None:
        if copy_weights:
            raise UnsupportedError("copy_weights is for a model: give model=..., or leave it out")
        specs = [] if method is None else _checked(method)
        source = None
    else:
        if method is None:
            raise UnsupportedError(
                f"a folder of the model {model!r} needs a method that is switched on in it: give "
                "one, such as sgrs"
            )
        loaded, source, _ = load_outline(model)
        if source.adapter is not None:
            raise UnsupportedError(
                f"{model} is an adapter (LoRA), whose folder has no weights of its own: merge it "
                "(`merge_and_unload` of peft), and give the folder of the result"
            )
        specs = _checked(method, loaded.card)
    try:
        (folder / "custom_generate").mkdir(parents=True, exist_ok=True)
        if source is not None:
            _put_model(source, folder, copy_weights=copy_weights)
        title = " + ".join(spec["name"] for spec in specs) or "A method of your choice"
        for name, text in {
            "custom_generate/generate.py": _GENERATE.format(title=title, method=specs or None),
            "custom_generate/requirements.txt": f"lvlmsal>={__version__}\n",
            "README.md": readme(specs, model=model, name=folder.resolve().name),
        }.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"cannot be written: {error}", path=folder) from error
    return folder


def _refuse_used(folder: Path) -> None:
    """Raise DataError for a folder that holds anything, and for what is no folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("is there already: choose a new folder, or an empty one", path=folder)


def _checked(method: Method, card: CheckpointCard | None = None) -> list[Spec]:
    """The parts of a method with the options that a checkpoint sets; all of them can be built."""
    decoder, edits = method_specs(method)
    specs, built = [], []
    for spec in [*([decoder] if decoder else []), *edits]:
        registry, name = registry_of(spec["name"]), spec["name"]
        options = {**registry.defaults(name, card), **{k: spec[k] for k in spec if k != "name"}}
        specs.append({"name": name, **options})
        built.append(registry.build(name, **options))
    check_combination(built[0] if decoder else Greedy(), built[1:] if decoder else built)
    return specs


def _put_model(source: Source, folder: Path, *, copy_weights: bool) -> None:
    """The files of a checkpoint in a folder: copies, and links to its weights."""
    place = Path(source.location)
    if not source.local:
        with source.loading():
            place = Path(
                snapshot_download(
                    source.location,
                    revision=source.revision,
                    allow_patterns=[_WEIGHTS, *_COPIED, "README.md"],
                    ignore_patterns=["*/*"],
                    local_files_only=bool(source.offline),
                )
            )
    for path in sorted(place.iterdir()):
        target = folder / (MODEL_README if path.name == "README.md" else path.name)
        # in the cache of the hub, files are links themselves
        if path.match(_WEIGHTS) and not copy_weights:
            target.symlink_to(path.resolve())
        elif any(path.match(pattern) for pattern in (_WEIGHTS, *_COPIED, "README.md")):
            shutil.copyfile(path, target)

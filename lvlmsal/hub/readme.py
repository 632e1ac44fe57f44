"""The README of a repository of ``custom_generate``."""

from __future__ import annotations

import importlib.resources
import inspect
import json
from collections.abc import Sequence
from typing import Any

import yaml

from lvlmsal.hub.methods import Spec, registry_of
from lvlmsal.registry import ADAPTERS

_USE = """\
```python
model = AutoModelForImageTextToText.from_pretrained(MODEL)
inputs = AutoProcessor.from_pretrained(MODEL)(images=image, text=prompt, return_tensors="pt")
output = model.generate(**inputs, custom_generate="{where}", trust_remote_code=True{options})
```

lvlmsal must be installed (`pip install lvlmsal`, or from a clone while it is not on the package
index): the code of this repository is a few lines that call `lvlmsal.hub.generate`. All other
arguments of `generate` go on to it, `streamer=` and `logits_processor=` among them; what does not
go together with the method is refused by name.
Options of the method are arguments of the call (`{example}`). transformers asks for
`trust_remote_code=True` also where the repository is a folder of this machine.
"""
_USE_MODEL = """\
```python
model = AutoModelForImageTextToText.from_pretrained("{where}", trust_remote_code=True)
inputs = AutoProcessor.from_pretrained("{where}")(images=image, text=prompt, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=64)
```

lvlmsal must be installed (`pip install lvlmsal`, or from a clone while it is not on the package
index). The method is on in every `model.generate`; without
`trust_remote_code=True` the folder is the plain model. Options of the method are arguments of the
call (`{example}`). `transformers serve {where} --trust-remote-code` serves it with the method on.
"""
_ANY = """\
One repository for all methods of lvlmsal: `method=` names a
decoder, an intervention, or several joined by `+`. `lvlmsal list methods` lists them, and
`lvlmsal describe NAME` says what each does and what its options are.
"""
_MEASURED = """\
Measured by lvlmsal (docs/methods/{name}.md of its repository) on its pocket models: three models of
two to six million parameters that answer questions about drawn pictures. **They say nothing about
models of 7 B parameters, none of which this project has run.** Paired differences to the row that
decodes alike with nothing done against hallucinations, with 95 % intervals; bold where they
exclude 0.
"""
_UNMEASURED = """\
No measurement of exactly this is shipped with lvlmsal. docs/methods.md and docs/guided.md of its
repository have what was measured, on models of two to six million parameters.
"""
_LICENSE = """\
The code is under the Apache License 2.0, as lvlmsal is. {weights}
"""


def readme(specs: Sequence[Spec], *, model: str | None, name: str) -> str:
    """The text of README.md.

    Args:
        specs: Of the method's parts, with the options that are set; none where the caller chooses.
        model: What the folder's weights are from; None where it holds none.
        name: Of the folder.
    """
    about: dict[str, Any] = {"library_name": "transformers", "tags": ["custom_generate", "lvlmsal"]}
    if model is None:
        about["license"] = "apache-2.0"
    else:
        about["pipeline_tag"] = "image-text-to-text"
    title = " + ".join(spec["name"] for spec in specs) or "Methods against hallucinations"
    example = "method='sgrs+locore', alpha=0.5" if not specs else _example(specs[0])
    use = _USE if model is None else _USE_MODEL
    options = "" if specs else ", method='sgrs'"
    weights = (
        f"The weights are those of `{model}`: their own license and README count for them."
        if model
        else "Weights are not part of it."
    )
    parts = [
        f"---\n{yaml.safe_dump(about, sort_keys=False)}---\n\n# {title}",
        *(map(_about, specs) if specs else [_ANY]),
        "## Use",
        use.format(where=name, example=example, options=options),
        "## Models",
        f"Vision-language models of transformers of these classes: {', '.join(_classes())}.",
        "## Numbers",
        *_numbers(specs),
        "## License",
        _LICENSE.format(weights=weights),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _about(spec: Spec) -> str:
    """What a part of the method does, and its options."""
    registry = registry_of(spec["name"])
    cls: Any = registry.get(spec["name"])
    source = f"[{cls.paper}]({cls.url})" if cls.url else cls.paper
    rows = [
        f"| `{option.name}` | `{spec.get(option.name, option.default)!r}` |"
        for option in registry.options(spec["name"]).values()
    ]
    table = "\n".join(["| option | value here |", "| --- | --- |", *rows])
    return (
        f"`{spec['name']}` {cls.summary}. Source: {source}.\n\n{table}\n\n"
        "<details><summary>What it does, and its options</summary>\n\n"
        f"```text\n{inspect.getdoc(cls)}\n```\n\n</details>"
    )


def _example(spec: Spec) -> str:
    """A call's argument that sets an option of a method to what it has."""
    options = registry_of(spec["name"]).options(spec["name"])
    numbers = [o for o in options.values() if isinstance(o.default, int | float)]
    option = next(iter(numbers), next(iter(options.values())))
    return f"{option.name}={spec.get(option.name, option.default)!r}"


def _classes() -> list[str]:
    return sorted({name.partition("/")[0] for name in ADAPTERS})


def measured() -> dict[str, str]:
    """Tables by the name of a method, as ``tools/hub_numbers.py`` has left them."""
    path = importlib.resources.files("lvlmsal.hub") / "numbers.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _numbers(specs: Sequence[Spec]) -> list[str]:
    """What was measured of a method that stands alone."""
    name = specs[0]["name"] if len(specs) == 1 else ""
    tables = measured().get(name)
    return [_UNMEASURED] if tables is None else [_MEASURED.format(name=name), tables]

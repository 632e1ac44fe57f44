"""A benchmark's questions as a local task of lmms-eval: JSON lines, a YAML file and utils.py."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.data.lmms_task import identifier
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.metrics.judged import JudgedMetric

DOCUMENTS: Final = "documents.jsonl"

_YAML: Final = """\
# Written by lvlmsal data export: {label}, {count} questions.
# lmms-eval runs it with --include_path and the folder above this one, and --tasks {task}.
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {documents}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pictures
doc_to_text: !function utils.question
doc_to_target: !function utils.target
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  do_sample: false
  num_beams: 1
process_results: !function utils.results
metric_list:
{metrics}metadata:
  - version: 1.0
"""

_METRIC: Final = """\
  - metric: {name}
    aggregation: !function utils.{name}
    higher_is_better: {better}
"""

_UTILS: Final = '''\
"""Written by lvlmsal data export: what lmms-eval calls for the documents of {label}."""

from functools import partial
from pathlib import Path

from lvlmsal.data.lmms_task import ExportedTask

TASK = ExportedTask(Path(__file__).parent, {name!r}, {options!r})


def pictures(doc):
    return TASK.pictures(doc)


def question(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def target(doc):
    return TASK.target(doc)


def results(doc, answers):
    return TASK.results(doc, answers)


{figures}
'''


def task_name(benchmark: Benchmark) -> str:
    """What lmms-eval calls the task, ``lvlmsal_pope_random`` for instance."""
    return "lvlmsal_" + re.sub(r"\W+", "_", benchmark.label)


def export_task(
    benchmark: Benchmark, options: Mapping[str, Any], root: str | os.PathLike[str]
) -> Path:
    """Write a benchmark as a task of lmms-eval, whole or not at all.

    Prompts are those that this library asks, the option `prompt` included, and the length limit is
    the benchmark's. Images stay where they are: documents hold their absolute paths.

    Args:
        benchmark: With the files that are asked about.
        options: Which it was built with.
        root: Folder of tasks; the task becomes a folder in it.

    Returns:
        The folder of the task.

    Raises:
        DataError: Something is wrong with the benchmark's files, or there is such a task.
        UnsupportedError: Answers are judged by a model, or videos are shown as such.
    """
    metric = benchmark.metric()
    if isinstance(metric, JudgedMetric):
        raise UnsupportedError(
            f"answers of {benchmark.name} are judged by a model, which lmms-eval does in another "
            "way: run lvlmsal evaluate and lvlmsal judge"
        )
    if problems := benchmark.problems():
        raise DataError("\n".join(problems))
    samples = benchmark.samples()
    if any(sample.is_video for sample in samples):
        raise UnsupportedError(
            "show=video: tasks of lmms-eval take video files, and there are frames here: export "
            "with show=images"
        )
    name = task_name(benchmark)
    folder = Path(root) / name
    if folder.exists():
        raise DataError("is there already; name another folder with --root", path=folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        with (scratch / DOCUMENTS).open("w", encoding="utf-8", newline="\n") as file:
            for sample in samples:
                document = {
                    "id": sample.id,
                    "question": sample.prompt,
                    "images": [str(path.resolve()) for path in sample.images],
                    "target": json.dumps(sample.target, ensure_ascii=False),
                }
                file.write(json.dumps(document, ensure_ascii=False) + "\n")
        figures = metric.figure_info
        text = _YAML.format(
            label=benchmark.label,
            count=len(samples),
            task=name,
            documents=DOCUMENTS,
            tokens=benchmark.max_new_tokens,
            metrics="".join(
                _METRIC.format(name=identifier(each), better=str(better is not False).lower())
                for each, better in figures.items()
            ),
        )
        (scratch / f"{name}.yaml").write_text(text, encoding="utf-8", newline="\n")
        utils = _UTILS.format(
            label=benchmark.label,
            name=benchmark.name,
            options={**options, "root": str(Path(benchmark.root).resolve())},
            figures="\n".join(
                f"{identifier(each)} = partial(TASK.figure, {each!r})" for each in figures
            ),
        )
        (scratch / "utils.py").write_text(utils, encoding="utf-8", newline="\n")
        scratch.chmod(0o755)
        scratch.replace(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder

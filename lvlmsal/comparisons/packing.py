"""A run as one small file, to be shared: records, results, environment and digests, no images."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from lvlmsal.errors import DataError
from lvlmsal.evaluation.report.run_scoring import score_only
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.manifests import MANIFESTS

_NEEDED = (names.CONFIG, names.ENVIRONMENT, names.RECORDS, names.RESULTS)
_FOLDERS = (MANIFESTS, names.SUBSETS)
"""Which samples were asked, with digests of their images, and which groups were drawn."""


def pack_run(run: Path | str, file: Path | str) -> Path:
    """Write a run as one file, which :func:`unpacked` and ``tar -xzf`` read.

    The same run gives the same bytes. ``results.json`` must be what the records say. What decoders
    noted of each token, ``tokens`` of the records, is left out: it would be most of the file.

    Args:
        run: A run folder that has come to its end.
        file: To be written; its name ends in ``.tar.gz``.

    Returns:
        The file.

    Raises:
        DataError: It is no run folder, the run is unfinished or some of its samples failed, its
            results are not those of its records, or the file cannot be written.
    """
    run, file = Path(run), Path(file)
    if not file.name.endswith(".tar.gz"):
        raise DataError("expected a name that ends in .tar.gz", path=file)
    _check(run)
    paths = [run / name for name in (*_NEEDED, names.REPLIES) if (run / name).is_file()]
    for name in _FOLDERS:
        paths += sorted(path for path in (run / name).rglob("*") if path.is_file())
    shortened = {names.RECORDS: _records, names.ENVIRONMENT: _environment}
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            member = tarfile.TarInfo(path.relative_to(run).as_posix())
            content = shortened.get(path.name, Path.read_bytes)(path)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    try:
        # the time of packing would make each file another one
        file.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", path=file) from error
    return file


def _records(path: Path) -> bytes:
    """The lines of records without what is noted of each token."""
    lines = []
    for record in map(json.loads, path.read_bytes().splitlines()):
        record.pop("tokens", None)
        lines.append(json.dumps(record) + "\n")
    return "".join(lines).encode()


def _environment(path: Path) -> bytes:
    """What the run was made with; of the platform its system alone, the rest tells of the host."""
    content = json.loads(path.read_bytes())
    content["platform"] = str(content.get("platform")).partition("-")[0]
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _check(run: Path) -> None:
    """Refuse what is not finished, or not scored."""
    found = json.loads(json.dumps(score_only(run).result.results))
    if found["unfinished"] is not None:
        raise DataError("the run has not come to its end: rerun its command first", path=run)
    failed = sum(cell["failed"] for cell in found["cells"])
    if failed:
        raise DataError(f"{failed} samples of the run failed: rerun its command first", path=run)
    try:
        written = json.loads((run / names.RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"cannot be read: {error}; `lvlmsal score {run}` writes it"
        raise DataError(text, path=run / names.RESULTS) from error
    if written != found:
        raise DataError(
            f"is not what the records say: type  lvlmsal score {run}", path=run / names.RESULTS
        )


@contextmanager
def unpacked(file: Path | str) -> Iterator[Path]:
    """The run folder of a packed run, which goes away with the block.

    Raises:
        DataError: The file is no packed run.
    """
    file = Path(file)
    with TemporaryDirectory() as scratch:
        try:
            with tarfile.open(file, mode="r:gz") as archive:
                archive.extractall(scratch, filter="data")
        except (OSError, EOFError, tarfile.TarError) as error:
            raise DataError(f"is no packed run: {error}", path=file) from error
        missing = [name for name in _NEEDED if not Path(scratch, name).is_file()]
        if missing:
            raise DataError(f"is no packed run: it lacks {', '.join(missing)}", path=file)
        yield Path(scratch)

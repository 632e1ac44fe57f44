"""The part of `check_metric` that runs in several processes, joined by gloo."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from lvlmsal.metrics.torch_metric import TorchMetric

_WAIT = timedelta(seconds=60)


def gloo_reports(
    metric: TorchMetric, samples: Sequence[tuple[str, Any]], processes: int
) -> list[dict[str, float] | str]:
    """What each of several processes computes, after each has counted every n-th sample.

    Args:
        metric: Without counts.
        samples: Answers and targets.
        processes: How many.

    Returns:
        The figures of each process, or a text where one failed.
    """
    # A fork server imports torch once for all processes of all checks. Forking this process would
    # be faster still, but not safe: torch may have started threads in it.
    context: ForkServerContext | SpawnContext
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
    else:
        context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        # as bytes, because torch would send tensors through shared memory
        job = pickle.dumps((metric, list(samples)))
        workers = [
            context.Process(target=_work, args=(rank, processes, meeting, job, results))
            for rank in range(processes)
        ]
        for worker in workers:
            worker.start()
        try:
            return [results.get(timeout=2 * _WAIT.total_seconds()) for _ in workers]
        except queue.Empty:
            raise AssertionError("a process of the gloo check did not answer") from None
        finally:
            for worker in workers:
                worker.join(timeout=_WAIT.total_seconds())
                if worker.is_alive():
                    worker.terminate()


def _work(
    rank: int,
    processes: int,
    meeting: str,
    job: bytes,
    results: Queue[dict[str, float] | str],
) -> None:
    """One process of the gloo check; it answers whatever happens, so that nobody waits."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        # the name of a machine need not resolve to an address; the loopback device is always there
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    report: dict[str, float] | str = "an error, which it has printed"
    try:
        metric, samples = pickle.loads(job)
        distributed.init_process_group(
            "gloo", init_method=meeting, rank=rank, world_size=processes, timeout=_WAIT
        )
        mine = samples[rank::processes]
        metric.update([answer for answer, _ in mine], [target for _, target in mine])
        report = {name: float(value) for name, value in metric.compute().items()}
        distributed.destroy_process_group()
    finally:
        results.put(report)

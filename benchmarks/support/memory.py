"""Peak of what torch allocates while a function runs."""

from __future__ import annotations

import os
from collections.abc import Callable

# The profiler's library prints its own starts and stops otherwise.
os.environ.setdefault("KINETO_LOG_LEVEL", "5")

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def peak_above(run: Callable[[], object], *, cuda: bool = False) -> float:
    """MiB of tensors at their peak, above what was there when ``run`` was called.

    On the CPU from every allocation and release that torch's profiler sees; on a GPU from torch's
    own counter.
    """
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        highest = max(highest, now)
    return highest / MIB

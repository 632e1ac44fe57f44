"""What holds for every test and doctest: no network, one thread, reproducible examples.

It stands at the root because the doctests in lvlmsal/ need it as much as the tests in tests/.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# The linked folders are collected through their links in lvlmsal/, under the names by which they
# are imported. The example plugin is a package of its own: a test installs it.
collect_ignore = ["registry", "adapters", "configs", "tests/example_plugin"]
if importlib.util.find_spec("lmms_eval") is None:
    collect_ignore.append("lvlmsal/lmms_eval/models.py")  # derives from a class of lmms-eval

# Set before torch and transformers are imported, and inherited by the processes that tests start.
# One thread: models of these sizes are slower with more, and sums do not depend on the machine.
os.environ.update(
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)

hypothesis.settings.register_profile(
    "lvlmsal",
    # A machine that does other work at the same time must not make a test fail.
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    # The same examples every time, and enough of them; by hand, a few that are others each time.
    derandomize="CI" in os.environ,
    max_examples=100 if "CI" in os.environ else 30,
)
hypothesis.settings.load_profile("lvlmsal")


# Doctests cannot carry a mark: these try the kit on a model, fit one, or import a large package.
SLOW_DOCTESTS = ("lvlmsal/testing/", "lvlmsal/analysis/mlp.py", "lvlmsal/metrics/text/words.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is not in the everyday tier is not in the fast one either."""
    for item in items:
        if item.get_closest_marker("full") or item.nodeid.startswith(SLOW_DOCTESTS):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Leave what is there by now out of garbage collection.

    Imported modules and collected tests are millions of objects. A batch that does not fit into
    memory, and some tests, collect garbage, and would look at all of them every time.
    """
    gc.collect()
    gc.freeze()


_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "")


def _refuse_remote(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and name not in _LOOPBACK and name != socket.gethostname():
        raise RuntimeError(f"a test tried to reach {name!r}: tests run without a network")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Make every connection to another machine an error."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    resolve = socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            _refuse_remote(address[0])
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if isinstance(address, tuple):
            _refuse_remote(address[0])
        return connect_ex(self, address)

    def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_remote(host)
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_resolve)
        yield

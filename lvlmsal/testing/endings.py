"""How the scope of an intervention may end, and what must not be left on the model then."""

from __future__ import annotations

import contextvars
import gc
import threading
from collections.abc import Callable, Generator
from typing import Any, Final

from transformers import PreTrainedModel

from lvlmsal.attention import AttentionSession

Run = Callable[[], object]
Scope = Callable[[], AttentionSession]


def left_behind(model: PreTrainedModel) -> dict[str, Any]:
    """Everything that an intervention could leave behind."""
    modules = dict(model.named_modules())
    return {
        "config": model.config.to_dict(),
        "attention": {
            name: module.config._attn_implementation
            for name, module in modules.items()
            if isinstance(module, PreTrainedModel)
        },
        "hooks": {
            name: [*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks]
            for name, module in modules.items()
        },
        "patched": [name for name, module in modules.items() if "forward" in vars(module)],
    }


def _steps(run: Run, scope: Scope) -> Generator[None]:
    with scope():
        while True:
            run()
            yield


def _exit(run: Run, scope: Scope) -> None:
    with scope():
        run()


def _exception(run: Run, scope: Scope) -> None:
    try:
        with scope():
            run()
            raise ZeroDivisionError
    except ZeroDivisionError:
        return


def _dropped(run: Run, scope: Scope) -> None:
    next(_steps(run, scope))
    gc.collect()


def _other_thread(run: Run, scope: Scope) -> None:
    steps = _steps(run, scope)
    next(steps)
    thread = threading.Thread(target=steps.close)
    thread.start()
    thread.join()


def _other_context(run: Run, scope: Scope) -> None:
    steps = _steps(run, scope)
    contextvars.copy_context().run(next, steps)
    steps.close()


ENDINGS: Final[dict[str, Callable[[Run, Scope], None]]] = {
    "a normal exit": _exit,
    "an exception": _exception,
    "a dropped generator": _dropped,
    "a generator closed in another thread": _other_thread,
    "a generator closed in another context": _other_context,
}

"""What a session changes on a model: its attention's name, and hooks on its layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.editor import FeedForwardEditor, InLayer, LayerEditor, returned
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.place import is_aside
from lvlmsal.errors import UnsupportedError

ATTENTION_NAME = "lvlmsal"
"""Name of the attention and mask functions in transformers' interfaces."""

# How many sessions hold a text config on our attention function, and what it was before: the
# implementation lives on the config, sessions may nest and may end out of order.
_HELD: dict[int, tuple[int, str]] = {}


_EAGER: list[Any] = []
"""A mark for each open session; the first holds what the compiler did before."""

_LOCK = RLock()


def hold(adapter: ModelAdapter) -> Any:
    """Send a text decoder through the library's attention function.

    Returns:
        The config on which that is noted, for :func:`release`.
    """
    config = adapter.text_config
    with _LOCK:
        count, previous = _HELD.get(id(config), (0, config._attn_implementation))
        if count == 0:
            _check_known(previous)
            adapter.set_attention(ATTENTION_NAME)
        _HELD[id(config)] = (count + 1, previous)
    return config


def release(adapter: ModelAdapter, config: Any) -> None:
    """Undo one :func:`hold`; the last one brings the former attention back.

    Args:
        adapter: of the model.
        config: that :func:`hold` returned. The model may have been given another one since, but its
            modules still go by this one.
    """
    with _LOCK:
        count, previous = _HELD.pop(id(config))
        if count > 1:
            _HELD[id(config)] = (count - 1, previous)
        else:
            if config is not adapter.text_config:
                config._attn_implementation = {"": previous}
            adapter.set_attention(previous)


def suspend_compiled() -> None:
    """Let whatever is compiled run as it is written, until :func:`resume_compiled`.

    Code that was compiled outside of a scope holds no hooks, and what would be compiled inside of
    one would keep them (torch does not check hooks before it runs compiled code): compiled models,
    and decode steps that transformers compiles for static caches.
    """
    stance: Any = torch.compiler.set_stance
    with _LOCK:
        _EAGER.append(None if _EAGER else stance("force_eager"))


def resume_compiled() -> None:
    """Undo one :func:`suspend_compiled`."""
    with _LOCK:
        if len(_EAGER) > 1:
            _EAGER.pop()
        else:
            _EAGER.pop().__exit__(None, None, None)


def _asleep(*_: object) -> None:
    """What a copied model has in place of a hook."""


class Hook:
    """A hook on a model that acts while its session does, and on this very model alone.

    Args:
        adapter: of the model.
        acts: whether it acts in the thread that runs.
        hook: what it does then.
    """

    def __init__(
        self, adapter: ModelAdapter, acts: Callable[[], bool], hook: Callable[..., Any]
    ) -> None:
        self.adapter, self.acts, self.hook = adapter, acts, hook

    def __call__(self, *call: Any) -> Any:
        """As torch calls hooks."""
        return self.hook(*call) if self.acts() else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        """A copy of the model is a plain one, with the attention that it had before the scope."""
        config = self.adapter.text_config
        if id(config) in _HELD:
            # Copied here and now, for hooks come before it; what is copied later finds this one.
            copy.deepcopy(config, memo)._attn_implementation = {"": _HELD[id(config)][1]}
        return _asleep

    def __reduce__(self) -> Any:
        raise UnsupportedError(
            "a model on which an intervene(...) scope is open cannot be pickled: do it before the "
            "scope or after it"
        )


def _check_known(name: str) -> None:
    """Refuse an attention of the user's own, which would be another one inside of a scope.

    Those of transformers compute the same thing, as do kernels of the hub, named with a slash.
    """
    same = ("eager", "sdpa", "flex_attention", ATTENTION_NAME)
    if name not in same and not name.startswith(("flash_attention", "paged|")) and "/" not in name:
        raise UnsupportedError(
            f"this model is on the attention {name!r}, which is none of transformers' own, and "
            f"edits and recordings would replace it: choose one that they can stand for, for "
            f"instance with model.set_attn_implementation('sdpa')"
        )


def was_sdpa(module: nn.Module) -> bool:
    """Whether an attention module is on sdpa when no session holds it."""
    return _HELD.get(id(getattr(module, "config", None)), (0, "sdpa"))[1] == "sdpa"


Watched = tuple[nn.Module, str, Callable[..., Any]]
"""A module, the name of its method that registers a hook, and the hook."""


class _EnoughSeen(Exception):
    """Ends a pass after the last layer that is of interest."""


@contextmanager
def first_layers(adapter: ModelAdapter, count: int) -> Iterator[None]:
    """Let a pass end behind so many layers of the decoder; 0 for all of it."""
    thread = get_ident()

    def stop(*_: object) -> None:
        if get_ident() == thread:  # others may use the same model
            raise _EnoughSeen

    handle = adapter.layers[count - 1].register_forward_hook(stop) if count else None
    try:
        yield
    except _EnoughSeen:
        return
    finally:
        if handle is not None:
            handle.remove()


def before_others(module: nn.Module) -> None:
    """Let hooks of sessions run before others, which shall see what a layer makes of the edits.

    transformers collects hidden states by hooks that it leaves on the layers at first use.
    """
    hooks: Any = module._forward_hooks  # an OrderedDict, which its type does not say
    for key in [key for key, hook in hooks.items() if not isinstance(hook, Hook)]:
        hooks.move_to_end(key)


def watch_layer(
    layer: int,
    acting: Sequence[InLayer],
    passes: Passes,
    *,
    keeps: bool,
) -> list[Watched]:
    """Let edits see what enters and leaves a layer, and what its feed-forward block adds.

    Args:
        layer: its index.
        acting: edits that apply to it, in their order.
        passes: of the session.
        keeps: whether what enters it is kept for edits of the logits.

    Returns:
        The hooks, which take the keyword arguments too; none where nobody wants any.

    Raises:
        UnsupportedError: its feed-forward block shall be edited, and is not to be found.
    """
    on_states = [edit for edit in acting if isinstance(edit, LayerEditor)]
    on_added = [edit for edit in acting if isinstance(edit, FeedForwardEditor)]

    def edited(states: Tensor, name: str) -> Tensor:
        for edit in on_states:
            if not is_aside(edit):
                found = getattr(edit, name)(states, passes.layer_context(layer, states))
                states = returned(found, states, edit, name)
        return states

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        named = "hidden_states" in kwargs
        states = edited(kwargs["hidden_states"] if named else args[0], "layer_input")
        if keeps and not is_aside():
            passes.place.hidden[layer] = states
        return (
            (args, {**kwargs, "hidden_states": states}) if named else ((states, *args[1:]), kwargs)
        )

    def leave(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return _changed(output, lambda states: edited(states, "layer_output"))

    def feed(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        passes.place.fed = args[0] if args else kwargs["hidden_states"]

    def added(states: Tensor) -> Tensor:
        inputs, passes.place.fed = passes.place.fed, None
        assert inputs is not None
        for edit in on_added:
            if not is_aside(edit):
                context = passes.layer_context(layer, states)
                found = edit.feed_forward(inputs, states, context)
                states = returned(found, states, edit, "feed_forward", "its second argument")
        return states

    def fed(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return _changed(output, added)

    module = passes.adapter.layers[layer]
    hooks: list[Watched] = []
    if on_states or keeps:
        hooks.append((module, "register_forward_pre_hook", enter))
    if on_states:
        hooks.append((module, "register_forward_hook", leave))
    if on_added:
        block, last = passes.adapter.feed_forward(layer)
        hooks.append((block, "register_forward_pre_hook", feed))
        hooks.append((last, "register_forward_hook", fed))
    return hooks


def _changed(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """What a module returned, with another tensor in its first place where it is a tuple."""
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    return change(output)

"""What LocoRE and SGRS cost per generated token, against stock `generate` with sdpa.

    python benchmarks/overhead.py            # about 200 M parameters, 600-token prefix
    python benchmarks/overhead.py --small    # a quick look

All methods run in one process on the same randomly initialised LLaVA-shaped weights and take turns
token by token, since the speed of a machine drifts far more than what is to be measured. Each step
is compared with stock generate's step beside it; the median ratio and the middle half of the ratios
are printed. The prefill is left out.
"""

from __future__ import annotations

import argparse
import copy
import platform
import random
import statistics
import threading
import time
from contextlib import nullcontext
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.generation.streamers import BaseStreamer

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.attention import resolve_layers
from lvlmsal.decoders.sgrs import SGRS
from lvlmsal.interventions.locore import LocoRE

IMAGE_TOKEN = 31999
STOCK = "generate (sdpa)"


class Turns:
    """Lets several decoding loops advance one token at a time, in a new order each round.

    A machine's speed drifts from second to second, far more than what is to be measured. Loops that
    alternate token by token drift together, and a shuffled order leaves none of them always behind
    the same neighbour.
    """

    def __init__(self, players: int) -> None:
        self.locks = [threading.Semaphore(0) for _ in range(players)]
        self.running = set(range(players))
        self._order: list[int] = []
        self._random = random.Random(0)

    def next(self) -> None:
        """Give the turn to the next loop that still runs."""
        self._order = [player for player in self._order if player in self.running]
        if not self._order:
            self._order = self._random.sample(sorted(self.running), len(self.running))
        if self._order:
            self.locks[self._order.pop()].release()


class Clock(BaseStreamer):
    """Times each token of one loop, and lets the other loops go on in between."""

    def __init__(self, turns: Turns, player: int) -> None:
        self.turns, self.player = turns, player
        self.steps: list[float] = []
        self.began = 0.0

    def put(self, value: torch.Tensor) -> None:
        """A token, or the prompt at the beginning: note the time, wait for the next turn."""
        self.steps.append(time.perf_counter() - self.began)
        self.turns.next()
        self.turns.locks[self.player].acquire()
        self.began = time.perf_counter()

    def end(self) -> None:
        """Nothing to do."""


def build(width: int, layers: int, patches: int) -> LlavaForConditionalGeneration:
    """A LLaVA-shaped model with random weights."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 14 * patches,
            "patch_size": 14,
            "projection_dim": 128,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 32000,
            "hidden_size": width,
            "intermediate_size": width * 11 // 4,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64,
            "num_key_value_heads": width // 64,
        },
        image_token_index=IMAGE_TOKEN,
        image_seq_length=patches**2,
    )
    model = LlavaForConditionalGeneration(config).eval()
    return model.requires_grad_(False)


def inputs_for(model: LlavaForConditionalGeneration, patches: int, text: int) -> dict[str, Any]:
    """One prompt: some text, the image, the question."""
    ids = torch.randint(3, 30000, (1, patches**2 + text))
    ids[:, 5 : 5 + patches**2] = IMAGE_TOKEN
    side = 14 * patches
    pixels = torch.randn(1, 3, side, side)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def share_above(model: LlavaForConditionalGeneration, layers: str) -> float:
    """f: the share of a step's weights that lie above the lowest target layer."""
    adapter = adapter_for(model)
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in adapter.layers]
    head = sum(p.numel() for p in adapter.lm_head.parameters())
    lowest = resolve_layers(layers, adapter.num_layers)[0]
    return (sum(sizes[lowest:]) + head) / (sum(sizes) + head)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a small model, for a quick look")
    parser.add_argument("--tokens", type=int, default=160, help="decode steps of each method")
    arguments = parser.parse_args()
    patches = 8 if arguments.small else 24
    model = build(*((256, 4) if arguments.small else (1024, 12)), patches=patches)
    inputs = inputs_for(model, patches, text=24)
    layers, threads = "0.5:1.0", torch.get_num_threads()
    # alpha = 0 records and judges one candidate a token and rejects none: one try.
    methods: dict[str, tuple[list[Any], dict[str, Any]]] = {
        STOCK: ([], {}),
        "LocoRE": ([LocoRE(beta=0.15)], {}),
        "SGRS, predicting row": ([], {"custom_generate": SGRS(alpha=0.0, layers=layers)}),
        "SGRS, candidate row": (
            [],
            {"custom_generate": SGRS(alpha=0.0, layers=layers, row="candidate")},
        ),
        "control (no rejection)": ([], {"custom_generate": SGRS(rejection=False)}),
    }
    turns = Turns(len(methods))
    clocks = [Clock(turns, player) for player in range(len(methods))]

    def run(player: int, interventions: list[Any], options: dict[str, Any]) -> None:
        turns.locks[player].acquire()
        torch.set_num_threads(threads)  # each Python thread starts with a setting of its own
        # a model object of its own over the same weights: the attention is chosen by its config
        own = type(model)(copy.deepcopy(model.config)).eval()
        own.load_state_dict(model.state_dict(), assign=True)
        own.requires_grad_(False)
        # transformers drops its own `streamer` for custom loops; SGRS has one of its own
        name = "token_streamer" if "custom_generate" in options else "streamer"
        scope = lvlmsal.intervene(own, *interventions) if interventions else nullcontext()
        length = arguments.tokens + 2
        with scope:
            own.generate(
                **inputs,
                **options,
                **{name: clocks[player]},
                max_new_tokens=length,
                min_new_tokens=length,
                do_sample=False,
            )
        turns.running.remove(player)
        turns.next()

    loops = [
        threading.Thread(target=run, args=(player, *method))
        for player, method in enumerate(methods.values())
    ]
    for loop in loops:
        loop.start()
    turns.next()
    for loop in loops:
        loop.join()
    # the first three are the prompt, the first token with its prefill, and a warm-up
    times = {name: clock.steps[3:] for name, clock in zip(methods, clocks, strict=True)}
    report(model, layers, times)


def report(
    model: LlavaForConditionalGeneration, layers: str, times: dict[str, list[float]]
) -> None:
    """Print the ratios with their spread, and the bounds that they are held against."""
    share = share_above(model, layers)
    bounds = {
        "LocoRE": 1.02,
        "SGRS, predicting row": 1 + share + 0.05,
        "SGRS, candidate row": 1 + share + 0.05,
    }
    plain = times[STOCK]
    table = Table(title="cost of a decode step, as a ratio to stock generate's step beside it")
    for column in ("", "ms/token", "ratio", "middle half", "aim at most"):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in times.items():
        ratios = [value / base for value, base in zip(values, plain, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if name != STOCK else (1.0, 1.0, 1.0)
        table.add_row(
            name,
            f"{1000 * statistics.median(values):.1f}",
            f"{middle:.3f}",
            f"{low:.3f} - {high:.3f}",
            f"{bounds[name]:.3f}" if name in bounds else "",
        )
    console = Console()
    size = sum(p.numel() for p in adapter_for(model).decoder.parameters())
    size += sum(p.numel() for p in adapter_for(model).lm_head.parameters())
    console.print(table)
    console.print(
        f"{size / 1e6:.0f} M parameters in the text decoder and its head, target layers {layers}: "
        f"f = {share:.3f}; {len(plain)} steps, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, "
        f"torch.set_num_threads({torch.get_num_threads()}), {platform.machine()}",
        highlight=False,
    )


if __name__ == "__main__":
    main()

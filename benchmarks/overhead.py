"""What LocoRE and SGRS cost per generated token, against stock `generate` with sdpa.

    python benchmarks/overhead.py            # about 200 M parameters, 600-token prefix
    python benchmarks/overhead.py --small    # a quick look

All runs share one process and one randomly initialised LLaVA-shaped model and take turns, several
times over; what is printed is the ratio of times per decode step, prefill taken out by subtracting a
run of one token. Times themselves depend on the machine, ratios hardly.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import LlavaConfig, LlavaForConditionalGeneration

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.attention import resolve_layers
from lvlmsal.interventions.locore import LocoRE

IMAGE_TOKEN = 31999


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
    parser.add_argument("--tokens", type=int, default=24, help="decode steps a run")
    parser.add_argument("--rounds", type=int, default=7, help="how often the runs take turns")
    arguments = parser.parse_args()
    patches = 8 if arguments.small else 24
    model = build(*((256, 4) if arguments.small else (1024, 12)), patches=patches)
    inputs = inputs_for(model, patches, text=24)
    layers = "0.5:1.0"

    def run(tokens: int, interventions: list[Any], **options: Any) -> float:
        began = time.perf_counter()
        scope = lvlmsal.intervene(model, *interventions) if interventions else nullcontext()
        with scope:
            model.generate(
                **inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, **options
            )
        return time.perf_counter() - began

    # alpha = 0 records and judges one candidate a token and rejects none: one try.
    sgrs = {row: lvlmsal.SGRS(alpha=0.0, row=row, layers=layers) for row in ("predicting", "candidate")}
    methods: dict[str, Callable[[int], float]] = {
        "generate (sdpa)": lambda n: run(n, []),
        "LocoRE": lambda n: run(n, [LocoRE(beta=0.15)]),
        "SGRS, predicting row": lambda n: run(n, [], custom_generate=sgrs["predicting"]),
        "SGRS, candidate row": lambda n: run(n, [], custom_generate=sgrs["candidate"]),
        "control (no rejection)": lambda n: run(
            n, [], custom_generate=lvlmsal.SGRS(rejection=False)
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for measure in methods.values():
        measure(2)  # warm up
    for _ in range(arguments.rounds):
        for name, measure in methods.items():
            short = measure(2)
            times[name].append((measure(2 + arguments.tokens) - short) / arguments.tokens)
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
    plain = times["generate (sdpa)"]
    table = Table(title="cost of a decode step, as a ratio to stock generate in the same round")
    for column in ("", "ms/token", "ratio", "spread (min - max)", "aim at most"):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in times.items():
        ratios = [value / base for value, base in zip(values, plain, strict=True)]
        table.add_row(
            name,
            f"{1000 * statistics.median(values):.1f}",
            f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f} - {max(ratios):.3f}",
            f"{bounds[name]:.3f}" if name in bounds else "",
        )
    console = Console()
    size = sum(p.numel() for p in adapter_for(model).decoder.parameters())
    size += sum(p.numel() for p in adapter_for(model).lm_head.parameters())
    console.print(table)
    console.print(
        f"{size / 1e6:.0f} M parameters in the text decoder and its head, {layers} as target layers: "
        f"f = {share:.3f}; torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}",
        highlight=False,
    )


if __name__ == "__main__":
    main()

"""AllPath against heads that are scaled in front of the output projection, and its lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.fits.head_lists import HeadLists
from lvlmsal.interventions.allpath import AllPath
from lvlmsal.testing.tiny import tiny_inputs, tiny_model

pytestmark = pytest.mark.slow

F64 = torch.float64
MODELS = {"llava": "LlavaForConditionalGeneration", "qwen2_vl": "Qwen2VLForConditionalGeneration"}
GOOD, BAD = [[0, 1], [1, 3]], [[1, 0], [1, 3]]
FACTORS = torch.tensor([[1.0, 3.0, 1.0, 1.0], [0.5, 1.0, 1.0, 3.0]], dtype=F64)


def lists(family: str) -> dict[str, Any]:
    return {"model": f"{MODELS[family]} 2x4", "good": GOOD, "bad": BAD}


@pytest.mark.parametrize("family", MODELS)
def test_heads_are_scaled_in_front_of_the_output_projection(family: str) -> None:
    """In the prompt and behind it; query heads that share keys and values are distinguished."""
    model = tiny_model(family, dtype=F64)
    batch = tiny_inputs(family, (1, 0), dtype=F64)
    hooks = []
    for layer, module in enumerate(adapter_for(model).attention_modules):

        def scale(module: Any, args: tuple[Tensor], factors: Tensor = FACTORS[layer]) -> Any:
            heads = args[0].unflatten(-1, (4, -1)) * factors[:, None]
            return (heads.flatten(-2),)

        hooks.append(module.o_proj.register_forward_pre_hook(scale))  # type: ignore[union-attr,operator]
    with torch.no_grad():
        wanted = model(**batch).logits
    for hook in hooks:
        hook.remove()
    edit = AllPath(enhance=3.0, suppress=0.5, **lists(family))
    with torch.no_grad(), intervene(model, edit):
        found = model(**batch).logits
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(found[real], wanted[real])
    with torch.no_grad():
        assert not torch.allclose(model(**batch).logits[real], wanted[real], atol=1e-4)


def test_rows_sum_to_the_factor_and_a_good_head_is_never_bad() -> None:
    edit = AllPath(**lists("llava")).bind(2)
    edit.meet(adapter_for(tiny_model("llava")))
    columns = torch.arange(3)
    context = AttentionContext([], columns, columns, 1, 2, first_query_column=0)
    sums = edit.weights(torch.full((1, 4, 3, 3), 1 / 3), context).sum(-1)[0, :, 0]
    torch.testing.assert_close(sums, torch.tensor([0.0, 1.0, 1.0, 2.0]))
    assert edit.applies_to(1)


def test_a_list_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    HeadLists.of(adapter_for(tiny_model("llava")), {"good": ((0, 1),), "bad": ()}).save(path)
    batch = tiny_inputs("llava", (1,))
    with torch.no_grad(), intervene(tiny_model("llava"), AllPath(lists=str(path))) as session:
        session.model(**batch)
    for other in (tiny_model("llava", seed=3), tiny_model("qwen2_vl")):
        with pytest.raises(UnsupportedError, match=r"'allpath': .*heads.json is for"):
            intervene(other, AllPath(lists=str(path)))
    with pytest.raises(UnsupportedError, match="the list of heads is for the model 'Llava"):
        intervene(tiny_model("qwen2_vl"), AllPath(**lists("llava")))


def test_drawn_heads_are_as_many_in_the_same_layers() -> None:
    """The control; without any list one good and one bad head of each layer."""
    model = adapter_for(tiny_model("llava"))

    def drawn(**options: Any) -> Tensor:
        edit = AllPath(**options).bind(2)
        edit.meet(model)
        chosen: Tensor = edit._chosen
        return chosen

    with_list = [drawn(**lists("llava"), random=seed) for seed in range(8)]
    for chosen in with_list:
        assert chosen.sum(-1).tolist() == [[1, 1], [0, 2]]  # good and bad, by layer
        assert not bool((chosen[0] & chosen[1]).any())
    assert len({tuple(chosen.flatten().tolist()) for chosen in with_list}) > 1
    assert torch.equal(drawn(**lists("llava"), random=3), with_list[3])
    assert drawn(random=0).sum(-1).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enhance": -1.0}, "enhance must be at least 0"),
        ({"suppress": float("nan")}, "suppress must be at least 0"),
        ({"good": [[0, 1]]}, "say which with model="),
        ({"lists": "heads.json", "model": "x 1x1"}, "leave out model and good, bad, or lists"),
        ({"good": [[0]], "model": "x 1x1"}, "must be .layer, head., both from 0, got .0."),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AllPath(**options)


def test_what_is_missing_is_told_before_a_model_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'allpath' needs a list of heads: give lists=FILE"):
        AllPath().bind(2)
    assert AllPath(enhance=1.0, suppress=1.0).bind(2).is_identity
    with pytest.raises(ConfigError, match=r"'allpath': .*there is no such file"):
        AllPath(lists=str(tmp_path / "none.json")).bind(2)
    HeadLists("x 2x4", {"good": ()}).save(tmp_path / "half.json")
    with pytest.raises(ConfigError, match="has no list 'bad', only 'good'"):
        AllPath(lists=str(tmp_path / "half.json")).bind(2)

"""`check_decoder`: what every decoder must do, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from lvlmsal.attention import intervene
from lvlmsal.decoders.base import Decoder
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.checks import Check, Failures, check_caches, other_pixels
from lvlmsal.testing.decoder_case import PAD, STEPS, DecoderCase
from lvlmsal.testing.sharing import SHARES_WRONGLY, check_sharing
from lvlmsal.testing.tiny import TINY, tiny_model, tiny_samples


def check_decoder(
    decoder: Decoder, *, greedy: Decoder | None = None, families: Sequence[str] = tuple(TINY)
) -> None:
    """Run all of :data:`DECODER_CHECKS` on a tiny random model of each family.

    Args:
        decoder: With any options.
        greedy: The same class with options under which it must give the tokens of
            ``generate(do_sample=False)``.
        families: Keys of :data:`~lvlmsal.testing.tiny.TINY` or `FURTHER`.

    Raises:
        AssertionError: Says which promise of a decoder is not kept.

    >>> from lvlmsal.decoders.sgrs.decoder import SGRS
    >>> check_decoder(SGRS(), greedy=SGRS(k=1), families=["llava"])
    """
    failures = Failures()
    for family in families:

        def make(family: str = family) -> DecoderCase:
            model = tiny_model(family, dtype=torch.float64)
            samples = tiny_samples(family, (1, 2, 0, 1), dtype=torch.float64)
            return DecoderCase(decoder, greedy, model, samples, family)

        failures.run(family, DECODER_CHECKS, make)
    failures.raise_any()


def check_sequences(case: DecoderCase) -> None:
    """Answers stand behind the unchanged prompts and end at `max_new_tokens`."""
    prompt = case.batch["input_ids"]
    for limit in (1, STEPS):
        ids = case.run(case.batch, max_new_tokens=limit)
        assert ids.dtype == torch.long, f"ids are {ids.dtype}"
        assert ids.shape == (len(prompt), prompt.shape[1] + limit), "max_new_tokens is not kept"
        assert torch.equal(ids[:, : prompt.shape[1]], prompt), "the prompts are changed"
        assert bool(((ids >= 0) & (ids < case.vocabulary)).all()), "ids outside the vocabulary"
    generative: Any = case.model
    bare = generative.generate(**case.batch, max_new_tokens=2, **case.decoder.generate_kwargs())
    assert isinstance(bare, Tensor), "without return_dict_in_generate a tensor is expected"


class _AfterTwo(StoppingCriteria):
    """Stops every sample after two new tokens."""

    def __init__(self, prompt: int) -> None:
        self.limit = prompt + 2

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any
    ) -> torch.BoolTensor:
        done = input_ids.shape[1] >= self.limit
        return torch.full((input_ids.shape[0],), done)  # type: ignore[return-value]  # a BoolTensor


def check_stopping(case: DecoderCase) -> None:
    """Stopping criteria end the answers."""
    criteria = StoppingCriteriaList([_AfterTwo(case.batch["input_ids"].shape[1])])
    answers = case.answers(case.batch, stopping_criteria=criteria)
    assert answers.shape[1] == 2, f"asked to stop after 2 tokens, it made {answers.shape[1]}"


def check_processors(case: DecoderCase) -> None:
    """Logits processors reach it: a banned token is never taken."""
    banned = list(range(0, case.vocabulary, 2))
    answers = case.answers(case.batch, suppress_tokens=banned)
    assert bool((answers % 2 == 1).all()), "a token that the logits processors ban was taken"


def check_end(case: DecoderCase) -> None:
    """A sample that reaches the end of sequence is padded; the others go on."""
    free = case.answers(case.batch)
    end = int(free[0, 1])
    answers = case.answers(case.batch, eos_token_id=end)
    ended = (answers == end).any(dim=1)
    for row, has_end in zip(answers.tolist(), ended.tolist(), strict=True):
        after = row[row.index(end) + 1 :] if has_end else []
        assert set(after) <= {PAD}, f"after the end of sequence stands {after}"
    if not case.decoder.is_beam:  # a beam that ends changes which others are kept
        assert bool(ended[0]), "the end of sequence did not end its sample"
        for before, row in zip(free.tolist(), answers.tolist(), strict=True):
            length = before.index(end) + 1 if end in before else len(row)
            assert row[:length] == before[:length], "another sample's end changed an answer"


def check_batch(case: DecoderCase) -> None:
    """A batch gives the tokens of its samples one by one."""
    names = ["first", "second", "third", "fourth"]
    together = case.answers(case.batch, case.decoder.generate_kwargs(seed=3, sample_ids=names))
    for index, (sample, name) in enumerate(zip(case.samples, names, strict=True)):
        own = case.decoder.generate_kwargs(seed=3, sample_ids=[name])
        alone = case.answers(sample.inputs, own)
        assert torch.equal(together[index], alone[0]), f"sample {index} depends on its batch"


def check_seed(case: DecoderCase) -> None:
    """The seed alone decides: not torch's global generator, and it is left alone too."""
    results = []
    for outside in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(outside)
            before = torch.get_rng_state()
            results.append(case.answers(case.batch, case.decoder.generate_kwargs(seed=9)))
            assert torch.equal(torch.get_rng_state(), before), "it draws from torch's generator"
    assert torch.equal(*results), "the same seed gave different answers"


def check_greedy(case: DecoderCase) -> None:
    """With the setting for it, the tokens are those of greedy search."""
    if case.greedy is None:
        return
    plain = {"do_sample": False, "num_beams": 1}
    wanted = case.answers(case.batch, plain)
    found = case.answers(case.batch, case.greedy.generate_kwargs())
    assert torch.equal(found, wanted), "its greedy setting differs from generate(do_sample=False)"


class _Listener:
    """A streamer: anything with `put` and `end` is one."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        self.told += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


def check_streamer(case: DecoderCase) -> None:
    """A streamer hears the prompt and every token, once; beam search cannot stream."""
    if case.decoder.is_beam:
        return
    listener: Any = _Listener()
    ids = case.run(case.samples[0].inputs, case.decoder.generate_kwargs(streamer=listener))
    assert listener.told == ids[0].tolist(), "the streamer heard something else than was returned"
    assert listener.ended, "the streamer was not told the end"


def check_model(case: DecoderCase) -> None:
    """The model is as it was: its attention, its plain results, no gradients."""
    config: Any = case.model.config.get_text_config()
    before = config._attn_implementation
    with torch.no_grad():
        plain = case.model(**case.batch).logits
        case.run(case.batch)
        after = case.model(**case.batch).logits
    assert config._attn_implementation == before, "the attention implementation is changed"
    assert torch.equal(plain, after), "the model's results are changed"
    assert all(p.grad is None for p in case.model.parameters()), "gradients are left"


def check_session(case: DecoderCase) -> None:
    """Inside the scope of an intervention of almost no strength, the tokens are the plain ones."""
    plain = case.answers(case.batch)
    with intervene(case.model, LocoRE(beta=1e-9)):
        edited = case.answers(case.batch)
    assert torch.equal(plain, edited), "LocoRE(beta=1e-9) changes the tokens"


def check_every_cache(case: DecoderCase) -> None:
    """Every exact cache gives the tokens of the dynamic one, or is refused."""

    def decode(**options: Any) -> Tensor:
        return case.answers(case.batch, **options)

    check_caches(case.model, case.batch, decode, num_beams=case.decoder.num_beams)


def check_pixels(case: DecoderCase) -> None:
    """Another image changes the first logits of its sample, and of no other one."""
    first: list[Tensor] = []
    watched = case.model.register_forward_hook(lambda *call: first.append(call[2].logits[:, -1]))
    logits = []
    try:
        for inputs in (case.batch, other_pixels(case.batch)):
            first.clear()
            case.answers(inputs)
            logits.append(first[0])
    finally:
        watched.remove()
    rows = len(logits[0]) // len(case.samples)
    for row, sample in enumerate(case.samples):
        same = torch.equal(*(each[row * rows] for each in logits))
        said = "leave" if sample.images else "change"
        assert same is not bool(sample.images), f"other pixels {said} the logits of sample {row}"


def check_shared_prefix(case: DecoderCase) -> None:
    """Who says `shares_prefix` answers questions about one image as if each were the only one."""
    check_sharing(case.decoder, (), [case.family])


DECODER_CHECKS: Final[dict[str, Check[DecoderCase]]] = {
    "sequences": Check(
        check_sequences,
        "the loop counts tokens itself in place of asking `stopping_criteria`, or returns only the "
        "new tokens",
    ),
    "seed": Check(check_seed, "it draws from torch's global generator: make one from `seed`"),
    "batch": Check(
        check_batch,
        "columns were taken for positions, or random numbers depend on the row in place of the "
        "sample's id",
    ),
    "stopping": Check(check_stopping, "`stopping_criteria` is not asked after each token"),
    "processors": Check(check_processors, "`logits_processor` is not applied to the scores"),
    "end": Check(check_end, "samples that ended are not filled with `pad_token_id`"),
    "greedy": Check(check_greedy, "the options of `greedy_options` leave some of its effect on"),
    "streamer": Check(check_streamer, "`streamer` is not passed on by `generate_kwargs`"),
    "session": Check(
        check_session,
        "it calls parts of the model by hand: call the model itself, so that hooks run",
    ),
    "every cache": Check(
        check_every_cache,
        "it takes the number of keys for the length of the sequence: a static cache has more; "
        "refuse the caches that it cannot use",
    ),
    "pixels": Check(
        check_pixels, "it leaves inputs of the prompt's pass out, or keeps earlier ones"
    ),
    "shared prefix": Check(check_shared_prefix, SHARES_WRONGLY),
    "model": Check(check_model, "a scope is left open, or gradients are left on the weights"),
}
"""All checks by name, for those who want to run them one by one."""

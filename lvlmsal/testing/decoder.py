"""`check_decoder`: what every decoder must do, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.decoders.base import Decoder
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.checks import Check, Failures, check_caches, other_pixels
from lvlmsal.testing.decoder_case import PAD, STEPS, DecoderCase
from lvlmsal.testing.replaced_generate import REPLACED, check_replaced_decoder
from lvlmsal.testing.sharing import SHARES_WRONGLY, check_sharing
from lvlmsal.testing.tiny import TINY, tiny_lvlm, tiny_samples


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
            model, processor = tiny_lvlm(family, dtype=torch.float64)
            samples = tiny_samples(family, (1, 2, 0, 1), dtype=torch.float64)
            adapter = adapter_for(model, processor)
            plain = None if greedy is None else greedy.bind(adapter)
            return DecoderCase(decoder.bind(adapter), plain, model, samples, family)

        failures.run(family, DECODER_CHECKS, make)
    failures.raise_any()


def check_sequences(case: DecoderCase) -> None:
    """Answers stand behind the unchanged prompts and end at `max_new_tokens`."""
    prompt = case.batch["input_ids"]
    for limit in (1, STEPS):
        ids = case.run(case.batch, max_new_tokens=limit)
        assert ids.dtype == torch.long, f"the ids are {ids.dtype}, expected torch.long"
        expected = (len(prompt), prompt.shape[1] + limit)
        assert ids.shape == expected, (
            f"with max_new_tokens={limit} the ids have shape {tuple(ids.shape)}, expected "
            f"{expected}: prompts of {prompt.shape[1]} columns, and the answers behind them"
        )
        assert torch.equal(ids[:, : prompt.shape[1]], prompt), (
            f"the first {prompt.shape[1]} columns of the ids are not the prompts: return "
            "torch.cat([input_ids, answers], dim=1)"
        )
        outside = ids[(ids < 0) | (ids >= case.vocabulary)].tolist()
        assert not outside, f"ids {outside} are outside the vocabulary of {case.vocabulary}"
    generative: Any = type(case.model)
    options = {**case.raw(case.batch), **case.kwargs()}
    bare = generative.generate(case.model, **case.batch, max_new_tokens=2, **options)
    assert isinstance(bare, Tensor), (
        f"without return_dict_in_generate it returned {type(bare).__name__}, expected a tensor: "
        "return the ids alone unless `generation_config.return_dict_in_generate` is set"
    )


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
    made = answers.shape[1]
    assert made == 2, f"a stopping criterion ends all answers after 2 tokens, it made {made}"


def check_processors(case: DecoderCase) -> None:
    """Logits processors reach it: a banned token is never taken."""
    banned = list(range(0, case.vocabulary, 2))
    answers = case.answers(case.batch, suppress_tokens=banned)
    taken = sorted(set(answers[answers % 2 == 0].tolist()))
    assert not taken, (
        f"it took the tokens {taken}, which a logits processor bans (`suppress_tokens`): choose "
        "from logits_processor(ids, scores)"
    )


def check_end(case: DecoderCase) -> None:
    """A sample that reaches the end of sequence is padded; the others go on."""
    free = case.answers(case.batch)
    end = int(free[0, 1])
    answers = case.answers(case.batch, eos_token_id=end)
    ended = (answers == end).any(dim=1)
    for row, has_end in zip(answers.tolist(), ended.tolist(), strict=True):
        after = row[row.index(end) + 1 :] if has_end else []
        assert set(after) <= {PAD}, (
            f"behind the end of sequence stands {after}, expected pad_token_id={PAD} alone"
        )
    if not case.decoder.is_beam:  # a beam that ends changes which others are kept
        assert bool(ended[0]), (
            f"the first sample says {free[0].tolist()}, and with eos_token_id={end} it says "
            f"{answers[0].tolist()}, expected that it ends there"
        )
        for before, row in zip(free.tolist(), answers.tolist(), strict=True):
            length = before.index(end) + 1 if end in before else len(row)
            assert row[:length] == before[:length], (
                f"where another sample ends, an answer is {row}, expected {before[:length]} as "
                "where none ends"
            )


def check_batch(case: DecoderCase) -> None:
    """A batch gives the tokens of its samples one by one, padded behind shorter ones."""
    names = ["first", "second", "third", "fourth"]
    together = case.answers(case.batch, case.kwargs(seed=3, sample_ids=names))
    for index, (sample, name) in enumerate(zip(case.samples, names, strict=True)):
        alone = case.answers(sample.inputs, case.kwargs(seed=3, sample_ids=[name]))
        row, own = together[index].tolist(), alone[0].tolist()
        assert row == own + [PAD] * (len(row) - len(own)), (
            f"sample {index} gets {row} in a padded batch and {own} alone, same seed and id"
        )


def check_seed(case: DecoderCase) -> None:
    """The seed alone decides: not torch's global generator, and it is left alone too."""
    results = []
    for outside in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(outside)
            before = torch.get_rng_state()
            results.append(case.answers(case.batch, case.kwargs(seed=9)))
            assert torch.equal(torch.get_rng_state(), before), (
                "torch's global generator is in another state than before: draw from a "
                "torch.Generator of your own"
            )
    first, second = (answers.tolist() for answers in results)
    assert first == second, f"with seed=9 the answers are {first}, and then {second}"


def check_greedy(case: DecoderCase) -> None:
    """With the setting for it, the tokens are those of greedy search."""
    if case.greedy is None:
        return
    plain = {"do_sample": False, "num_beams": 1}
    wanted = case.answers(case.batch, plain)
    found = case.answers(case.batch, case.kwargs(case.greedy))
    assert torch.equal(found, wanted), (
        f"under {case.greedy} the answers are {found.tolist()}, expected those of "
        f"generate(do_sample=False): {wanted.tolist()}"
    )


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
    ids = case.run(case.samples[0].inputs, case.kwargs(streamer=listener))
    assert listener.told == ids[0].tolist(), (
        f"the streamer was told {listener.told}, expected the prompt and then each token that was "
        f"returned: {ids[0].tolist()}"
    )
    assert listener.ended, "the streamer was not told the end: call streamer.end()"


def check_model(case: DecoderCase) -> None:
    """The model is as it was: its attention, its plain results, no gradients."""
    config: Any = case.model.config.get_text_config()
    before = config._attn_implementation
    with torch.no_grad():
        plain = case.model(**case.batch).logits
        case.run(case.batch)
        after = case.model(**case.batch).logits
    now = config._attn_implementation
    assert now == before, f"afterwards the attention implementation is {now!r}, it was {before!r}"
    gap = float((plain - after).abs().max())
    assert torch.equal(plain, after), f"afterwards the logits of the model differ by {gap:.1e}"
    left = [name for name, weight in case.model.named_parameters() if weight.grad is not None]
    assert not left, f"afterwards {len(left)} weights have a gradient, {left[0]} among them"


def check_session(case: DecoderCase) -> None:
    """Inside the scope of an intervention of almost no strength, the tokens are the plain ones."""
    plain = case.answers(case.batch)
    with intervene(case.model, LocoRE(beta=1e-9)):
        edited = case.answers(case.batch)
    assert torch.equal(plain, edited), (
        f"inside intervene(model, LocoRE(beta=1e-9)), which changes next to nothing, the answers "
        f"are {edited.tolist()}, expected the plain ones: {plain.tolist()}"
    )


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
        said = "leave the first logits as they were" if same else "change the first logits"
        assert same is not bool(sample.images), (
            f"other pixels {said} of sample {row}, which has {len(sample.images)} images"
        )


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
    "replaced generate": Check(check_replaced_decoder, REPLACED),
    "shared prefix": Check(check_shared_prefix, SHARES_WRONGLY),
    "model": Check(check_model, "a scope is left open, or gradients are left on the weights"),
}
"""All checks by name, for those who want to run them one by one."""

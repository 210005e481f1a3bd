"""Residual streams against transformers' own, in any batch, without the blocks behind; tokens and answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sae.common.errors import UserError
from sae.language_models import LanguageModel, load
from tests.language_models import tiny

FAMILIES = ("llama", "gpt2", "neox", "opt")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    root = tmp_path_factory.mktemp("models")
    return {family: load(str(tiny.make(root / family, family))) for family in FAMILIES}


def _alone(model: LanguageModel, ids: list[int]) -> Any:
    """What transformers itself gives for one text without padding."""
    with torch.inference_mode():
        return model.model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_transformers(models: dict[str, LanguageModel], family: str) -> None:
    model = models[family]
    for tokens in model.tokenize(tiny.TEXTS[:3]):
        states = model.hidden_states(*model.pad([tokens.ids]), [0, 1, 2])
        theirs = _alone(model, tokens.ids)
        for layer in (0, 1, 2):
            assert states[layer].shape == (1, len(tokens.ids), tiny.D_MODEL)
            torch.testing.assert_close(states[layer], theirs[layer + 1], rtol=1e-5, atol=1e-5)


def test_last_block_is_taken_before_the_final_norm(models: dict[str, LanguageModel]) -> None:
    model = models["llama"]
    (tokens,) = model.tokenize(tiny.TEXTS[:1])
    seen = []
    hook = model.model.model.layers[-1].register_forward_hook(lambda module, given, out: seen.append(out))
    theirs = _alone(model, tokens.ids)
    hook.remove()
    ours = model.hidden_states(*model.pad([tokens.ids]), [tiny.LAYERS - 1])[tiny.LAYERS - 1]
    torch.testing.assert_close(ours, seen[0], rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(model.model.model.norm(ours), theirs[-1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, theirs[-1], atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_the_same_in_any_batch(models: dict[str, LanguageModel], family: str) -> None:
    model = models[family]
    encoded = [tokens.ids for tokens in model.tokenize(tiny.TEXTS)]
    together = model.hidden_states(*model.pad(encoded), [1, 3])
    for number, ids in enumerate(encoded):
        alone = model.hidden_states(*model.pad([ids]), [1, 3])
        for layer in (1, 3):
            difference = (together[layer][number, : len(ids)] - alone[layer][0]).abs().max()
            assert difference <= 1e-4 * alone[layer].abs().max().clamp_min(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_behind_the_last_one_never_run(models: dict[str, LanguageModel], family: str) -> None:
    model = models[family]
    calls = [0] * tiny.LAYERS
    blocks = next(m for m in model.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == tiny.LAYERS)

    def count(index: int) -> Any:
        return lambda module, given: calls.__setitem__(index, calls[index] + 1)

    before = [len(block._forward_hooks) for block in blocks]
    hooks = [block.register_forward_pre_hook(count(index)) for index, block in enumerate(blocks)]
    (tokens,) = model.tokenize(tiny.TEXTS[:1])
    model.hidden_states(*model.pad([tokens.ids]), [0, 1])
    for hook in hooks:
        hook.remove()
    assert calls == [1, 1, 0, 0]
    assert [len(block._forward_hooks) for block in blocks] == before


def test_layers_out_of_range_are_named(models: dict[str, LanguageModel]) -> None:
    model = models["llama"]
    for layers in ([4], [-1], [0, 99]):
        with pytest.raises(UserError, match="layers 0 to 3"):
            model.check_layers(layers)
    with pytest.raises(UserError, match="no layer"):
        model.check_layers([])
    assert model.check_layers([3, 0, 3]) == [0, 3]


def test_tokens_say_which_characters_they_stand_for(models: dict[str, LanguageModel]) -> None:
    model = models["llama"]
    for text, tokens in zip(tiny.TEXTS, model.tokenize(tiny.TEXTS), strict=True):
        assert tokens.ids[0] == 0 and tokens.kept == list(range(1, len(tokens.ids)))
        covered: set[int] = set()
        for index, start, end in zip(tokens.kept, tokens.starts, tokens.ends, strict=True):
            piece = text[start:end]
            covered.update(range(start, end))
            # A token of whole characters must spell exactly them; one of a few bytes stands inside a character.
            spelled = model.tokenizer.decode([tokens.ids[index]])
            assert spelled == piece or ("�" in spelled and len(piece.encode()) > 1)
        assert covered == set(range(len(text)))


def test_facts_about_the_model(models: dict[str, LanguageModel]) -> None:
    for model in models.values():
        assert (model.n_layers, model.d_model, model.context) == (tiny.LAYERS, tiny.D_MODEL, 128)
        assert model.source["kind"] == "folder" and len(model.source["sha256"]["model.safetensors"]) == 64


def test_onednn_gives_the_same_numbers(models: dict[str, LanguageModel]) -> None:
    """Whatever computes linear layers here, it is exact float32, and gradients still work."""
    model = models["llama"].model
    layer = model.model.layers[0].mlp.down_proj
    x = torch.randn(3, 5, layer.in_features)
    with torch.inference_mode():
        expected = x.double() @ layer.weight.double().T
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-5)
    layer(x.requires_grad_()).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand_as(x), rtol=1e-4, atol=1e-4)
    layer.weight.grad = None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_greedy_answers_are_the_likeliest_tokens(models: dict[str, LanguageModel], family: str) -> None:
    model = models[family]
    prompts = [model.prompt(text, "{question}", "Question: {question}\nAnswer:") for text in tiny.TEXTS[:4]]
    assert prompts[0] == f"<s>Question: {tiny.TEXTS[0]}\nAnswer:"
    expected = []
    for prompt in prompts:
        ids = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        start = len(ids)
        assert ids[0] == 0
        for _ in range(8):
            with torch.inference_mode():
                best = int(model.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if best == 1:
                break
            ids.append(best)
        expected.append(model.tokenizer.decode(ids[start:], skip_special_tokens=True).strip())
    assert model.greedy_answers(prompts, max_new_tokens=8, batch_size=3) == expected
    assert model.greedy_answers([]) == []


def test_answers_follow_the_chat_template(models: dict[str, LanguageModel]) -> None:
    tokenizer = models["llama"].tokenizer
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant]"
    try:
        assert models["llama"].prompt("2+2?", "Solve {question}", "no") == "[user] Solve 2+2? [assistant]"
    finally:
        tokenizer.chat_template = None


def test_a_prompt_as_long_as_the_context_is_refused(models: dict[str, LanguageModel]) -> None:
    with pytest.raises(UserError, match="context 128"):
        models["llama"].greedy_answers(["word " * 200])

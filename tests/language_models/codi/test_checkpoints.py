"""Published CODI checkpoints: the same numbers as a plain computation from their tensors, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.language_models.codi.bases import BASES, Base, base_config
from sae.language_models.codi.loading import load
from sae.language_models.codi.model import Codi
from sae.language_models.codi.weights import expected
from tests.language_models.codi import published
from tests.language_models.codi.plain import Plain
from tests.language_models.codi.published import D_MODEL, FAMILIES, N_LAYERS, PREFIX, RANK, V

QUESTIONS = ["Ana has 3 apples and buys 4 more.", "One.", "A train of 12 cars loses 5. How many does it have?"]


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", params=FAMILIES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Codi, Plain]:
    """A checkpoint through the real code, and the plain computation from the same tensors."""
    state = published.state(request.param)
    folder = published.write(tmp_path_factory.mktemp("codi") / request.param, request.param, state)
    return load(str(folder)), Plain(state, request.param)


def think(codi: Codi, ids: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """States [B, steps, layers, d], final states [B, steps, d] and logits [B, 4, V + 2] after EOT and three tokens."""
    with torch.inference_mode():
        thinking = codi.think(ids, layers=range(codi.n_layers))
        logits = codi.continue_with(thinking, [[5, 17, 3]] * len(ids))
    states = torch.stack([thinking.states[layer] for layer in range(codi.n_layers)], 1)
    return states.permute(2, 0, 1, 3).double(), thinking.final.transpose(0, 1).double(), logits.double()


def test_every_state_and_logit_is_that_of_a_plain_computation(both: tuple[Codi, Plain]) -> None:
    codi, plain = both
    ids = codi.encode(QUESTIONS)
    assert (codi.n_layers, codi.d_model, codi.pad_id) == (N_LAYERS, D_MODEL, V)
    assert len({len(row) for row in ids}) == 3
    states, final, logits = think(codi, ids)
    assert states.shape == (3, 7, N_LAYERS, D_MODEL) and logits.shape == (3, 4, V + 2)
    for number, row in enumerate(ids):
        steps = plain.think(row)
        close(states[number], steps.blocks)
        close(final[number], steps.final)
        close(logits[number], plain.logits(steps, [5, 17, 3]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_comparison_would_show_a_wrong_merge(family: str) -> None:
    state = published.state(family)
    right = Plain(state, family).think([3, 1, 4, 1, 5]).blocks
    for wrong in (
        Plain(state, family, scale=0),
        Plain(state, family, scale=16 / RANK),
        Plain({name: 0 * w if name == "prj.1.bias" else w for name, w in state.items()}, family),
    ):
        assert (wrong.think([3, 1, 4, 1, 5]).blocks - right).abs().max() > 0.05
    if family == "llama":
        unscaled = Plain(state, family, scaled=False).think(list(range(40))).blocks
        assert (unscaled - Plain(state, family).think(list(range(40))).blocks).abs().max() > 0.005


def test_answers_are_those_of_a_naive_loop(both: tuple[Codi, Plain]) -> None:
    codi, plain = both
    ids = codi.encode(QUESTIONS)
    naive = [plain.answer(plain.think(row), -1, 9)[0] for row in ids]
    # A token that some rows write and others do not, or later, ends the text: rows end at different lengths.
    places = {token: {row.index(token) if token in row else 9 for row in naive} for row in naive for token in row}
    end = next(token for token, found in places.items() if len(found) > 1)
    usual = codi.tokenizer.eos_token
    codi.tokenizer.eos_token = codi.tokenizer.convert_ids_to_tokens(end)
    try:
        with torch.inference_mode():
            answers = codi.answer(codi.think(ids), max_new_tokens=9)
    finally:
        codi.tokenizer.eos_token = usual
    for row, answer in zip(ids, answers, strict=True):
        tokens, score = plain.answer(plain.think(row), end, 9)
        assert answer.ids == tuple(tokens)
        assert answer.log_prob == pytest.approx(score, abs=1e-3)
    assert len({len(answer.ids) for answer in answers}) > 1


@pytest.mark.parametrize("zeroed", [(1,), (6,), (2, 4)])
def test_zeroed_thoughts_are_read_as_zeros(both: tuple[Codi, Plain], zeroed: tuple[int, ...]) -> None:
    codi, plain = both
    ids = codi.encode(QUESTIONS)
    with torch.inference_mode():
        found = codi.think(ids, zeroed=zeroed).final.transpose(0, 1).double()
        usual = codi.think(ids).final.transpose(0, 1).double()
    for number, row in enumerate(ids):
        close(found[number], plain.think(row, zeroed=zeroed).final)
    assert torch.equal(found[:, : min(zeroed)], usual[:, : min(zeroed)])
    assert (found[:, min(zeroed) :] - usual[:, min(zeroed) :]).abs().amax(-1).min() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["bin", "old bin", "safetensors files", "bin files"])
def test_every_form_of_the_weights_is_the_same_model(family: str, form: str, tmp_path: Path) -> None:
    state = published.state(family, norm=False)
    one = load(str(published.write(tmp_path / "one", family, state)))
    other = load(str(published.write(tmp_path / "other", family, state, form)))
    assert not any(name.startswith("ln") for name, _ in other.projection.named_parameters())
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert len(other.source["sha256"]) == 64
    _, final, _ = think(other, [[7, 8, 9]])
    close(final[0], Plain(state, family).think([7, 8, 9]).final)


def test_a_source_says_what_was_merged(both: tuple[Codi, Plain]) -> None:
    source = both[0].source
    assert source["kind"] == "published" and source["n_thoughts"] == 6 and source["dtype"] == "float32"
    assert source["lora"] == {
        "alpha": 32.0,
        "alpha_from": "not stated; that of the published scripts",
        "r": RANK,
        "scale": pytest.approx(32 / RANK),
    }


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter/adapter_config.json", "config.json"])
@pytest.mark.parametrize("root", [False, True])
def test_a_stated_alpha_is_followed(file: str, root: bool, tmp_path: Path) -> None:
    state = published.state("gpt2")
    folder = published.write(tmp_path / "m", "gpt2", state)
    said = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps({**said, "lora_alpha": 8, "r": RANK, "use_rslora": root}))
    codi = load(str(folder))
    scale = 8 / (RANK**0.5 if root else RANK)
    assert codi.source["lora"]["alpha_from"] == file
    _, final, _ = think(codi, [[7, 8, 9]])
    close(final[0], Plain(state, "gpt2", scale=scale).think([7, 8, 9]).final)


def test_a_head_of_its_own_is_kept(tmp_path: Path) -> None:
    state = published.state("llama")
    state[f"{PREFIX}lm_head.weight"] = -state[f"{PREFIX}lm_head.weight"]
    codi = load(str(published.write(tmp_path / "m", "llama", state)))
    assert codi.source["head"] == "its own"
    plain = Plain(state, "llama")
    _, _, logits = think(codi, [[7, 8, 9]])
    close(logits[0], -plain.logits(plain.think([7, 8, 9]), [5, 17, 3]))


def test_weights_that_training_alone_needs_are_counted(tmp_path: Path) -> None:
    state = published.state("llama") | {"decoder.model.norm.weight": torch.ones(4)}
    assert load(str(published.write(tmp_path / "m", "llama", state))).source["unused_tensors"] == 1


Q_A = f"{PREFIX}model.layers.1.self_attn.q_proj.lora_A.default.weight"
Q_B = f"{PREFIX}model.layers.1.self_attn.q_proj.lora_B.default.weight"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (f"{PREFIX}model.embed_tokens.weight", None),
        (f"{PREFIX}model.layers.2.mlp.up_proj.base_layer.weight", "(40, 32)"),
        (f"{PREFIX}model.layers.0.input_layernorm.weight", "(32,)"),
        (f"{PREFIX}model.norm.weight", "(32,)"),
        (Q_A, "(3, 32)"),
        (Q_B, "(32, 3)"),
        ("prj.1.bias", "(24,)"),
        ("prj.3.weight", "(32, 24)"),
        ("prj.ln.bias", "(32,)"),
    ],
)
def test_a_missing_or_misshapen_tensor_is_one_line(name: str, shape: str | None, tmp_path: Path) -> None:
    state = published.state("llama")
    folder = published.write(tmp_path / "missing", "llama", {k: v for k, v in state.items() if k != name})
    with pytest.raises(UserError) as lacking:
        load(str(folder))
    assert name in str(lacking.value) and str(folder) in str(lacking.value)
    if shape is None:
        return
    assert shape in str(lacking.value) and "lacks" in str(lacking.value)
    folder = published.write(tmp_path / "misshapen", "llama", {**state, name: torch.zeros(2, 5)})
    with pytest.raises(UserError) as misshapen:
        load(str(folder))
    # A rank can't be read off a misshapen A: it is held against B.
    line = str(misshapen.value)
    assert name in line and str(folder / "model.safetensors") in line and "expected is" in line
    assert name in (Q_A, Q_B) or ("(2, 5)" in line and shape in line)


def test_tensors_without_a_place_are_refused(tmp_path: Path) -> None:
    state = published.state("gpt2")
    for number, name in enumerate(
        (f"{PREFIX}transformer.h.3.ln_1.bias", f"{PREFIX}x.lora_A.default.weight", "prj.4.w")
    ):
        folder = published.write(tmp_path / str(number), "gpt2", {**state, name: torch.zeros(2)})
        with pytest.raises(UserError, match="no place") as caught:
            load(str(folder))
        assert name in str(caught.value)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    state = published.state("llama")
    bare = {name: tensor for name, tensor in state.items() if not name.startswith("prj.")}
    with pytest.raises(UserError, match="no projection"):
        load(str(published.write(tmp_path / "bare", "llama", bare)))
    with pytest.raises(UserError, match="no token embeddings"):
        load(str(published.write(tmp_path / "prj", "llama", {k: v for k, v in state.items() if k.startswith("prj.")})))
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no weights"):
        load(str(tmp_path / "none"))
    short = {**state, f"{PREFIX}model.embed_tokens.weight": torch.zeros(V, D_MODEL)}
    short.pop(f"{PREFIX}lm_head.weight")
    folder = published.write(tmp_path / "rows", "llama", short)
    with pytest.raises(UserError, match="lacks CODI's extra rows"):
        load(str(folder))
    (folder / "config.json").write_text(json.dumps({**published.CONFIGS["llama"], "vocab_size": V + 1}))
    with pytest.raises(UserError, match="300 rows; its config.json has a vocabulary of 301 words"):
        load(str(folder))


def test_files_that_are_broken_or_run_code_are_refused(tmp_path: Path) -> None:
    state = published.state("gpt2")
    folder = published.write(tmp_path / "m", "gpt2", state, "bin")
    path = folder / "pytorch_model.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="can't be read"):
        load(str(folder))
    torch.save({**state, "evil": Path("/tmp")}, path)
    with pytest.raises(UserError, match="more than tensors"):
        load(str(folder))
    for content in ([1, 2], {"state": state}, {**state, "step": 3}):
        torch.save(content, path)
        with pytest.raises(UserError, match="a dictionary of tensors is needed"):
            load(str(folder))
    index = folder / "pytorch_model.bin.index.json"
    path.rename(folder / "a.bin")
    for file in ("../a.bin", "b.bin", str(folder / "a.bin")):
        index.write_text(json.dumps({"weight_map": {"prj.1.weight": file}}))
        with pytest.raises(UserError, match="is not in"):
            load(str(folder))


def test_heads_that_cant_be_known_say_which_file_to_put_where(tmp_path: Path) -> None:
    folder = published.write(tmp_path / "m", "llama", published.state("llama"))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"attention heads .* put the config.json of its base model into") as caught:
        load(str(folder))
    assert str(folder) in str(caught.value)
    (folder / "config.json").write_text(json.dumps({**published.CONFIGS["llama"], "model_type": "unheard-of"}))
    with pytest.raises(UserError, match="unheard-of"):
        load(str(folder))


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.title)
def test_known_bases_need_no_config(base: Base, tmp_path: Path) -> None:
    d, rows = base.d_model, base.n_words + 3
    d_mlp = {2048: 8192, 3072: 8192}.get(d, 4 * d)
    shapes: dict[str, tuple[int, ...]]
    if base.family == "llama":
        shapes = {"model.embed_tokens.weight": (rows, d)}
        shapes |= {f"model.layers.{i}.mlp.up_proj.weight": (d_mlp, d) for i in range(base.n_layers)}
    else:
        shapes = {"transformer.wte.weight": (rows, d), "transformer.wpe.weight": (1024, d)}
        shapes |= {f"transformer.h.{i}.ln_1.bias": (d,) for i in range(base.n_layers)}
    config, found = base_config(tmp_path, shapes, tied=True)
    assert found is base
    made = expected(config, tmp_path).shapes
    assert all(made[name] == shape for name, shape in shapes.items())
    # The number of weights is that of the published model, and of three rows more.
    counts = {"GPT-2": 124_439_808, "GPT-2 medium": 354_823_168, "GPT-2 large": 774_030_080, "GPT-2 XL": 1_557_611_200}
    counts |= {"Llama-3.2-1B": 1_235_814_400, "Llama-3.2-3B": 3_212_749_824}
    assert sum(torch.Size(shape).numel() for shape in made.values()) == counts[base.title] + 3 * d
    if base.family == "llama":
        assert config.head_dim == {2048: 64, 3072: 128}[d] and config.num_key_value_heads == 8
        assert config.rope_parameters["factor"] == 32 and config.rope_parameters["rope_theta"] == 500_000
    else:
        assert d // config.n_head == 64
    shapes[next(iter(shapes))] = (rows - 3, d)
    with pytest.raises(UserError, match="rows"):
        base_config(tmp_path, shapes, tied=True)

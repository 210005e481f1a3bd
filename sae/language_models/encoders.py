"""Text encoders: one vector a text, the mean over its tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json
from sae.common.progress import Progress, Silent

from . import minilm
from .blocks import text_config
from .cores import workers_for
from .hub import hub_folder
from .kernels import onednn_linear_helps, use_onednn
from .loading import hub_source, is_hub_id, load_folder
from .quiet import quiet

# Tokenizers without a limit of their own say a number near 10^30.
_NO_LIMIT = 1 << 24


class Encoder:
    """Wraps a Hugging Face model that turns tokens into states, and its tokenizer.

    Attributes:
        model, tokenizer: as transformers made them; the model is in evaluation mode.
        source: where it came from: name, kind, files' SHA-256 or revision, licence, and `pooling` (how `embed` pools:
            `tokens`, `normalised`, and `authors`, the authors' own pooling where their files say it).
        normalised: whether `embed` scales each vector to length 1, as the model's authors do.
        d_model: the width of a vector.
        context: the most tokens it reads, special tokens among them, or None if it has no limit.
        kernel: what computes linear layers on the CPU: `onednn` or `default`. It decides the last bits.

    Raises:
        UserError: if the model also decodes (T5 and its relatives).
    """

    def __init__(self, model: Any, tokenizer: Any, source: dict[str, Any], folder: Path) -> None:
        if getattr(model.config, "is_encoder_decoder", False):
            raise UserError(f"model {source.get('name')!r} has an encoder and a decoder: take an encoder alone")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.kernel = "onednn" if self.device.type == "cpu" and onednn_linear_helps() else "default"
        if self.kernel == "onednn":
            use_onednn(model)
        config = text_config(model)
        self.d_model: int = config.hidden_size
        authors = _authors(folder)
        self.normalised = "Normalize" in authors["modules"]
        limits = [
            getattr(config, "max_position_embeddings", None),
            getattr(tokenizer, "model_max_length", None),
            authors["max_seq_length"],
        ]
        self.context: int | None = min((limit for limit in limits if limit and limit < _NO_LIMIT), default=None)
        pooling = {"tokens": "mean", "normalised": self.normalised, "authors": authors["pooling"]}
        self.source = {**source, "pooling": pooling}

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def workers(self) -> int:
        """How many batches are worked on at once (see `cores.workers_for`)."""
        return workers_for(self.model)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with the special tokens that the tokenizer adds; nothing is cut off."""
        if not texts:
            return []
        with quiet():
            return [list(ids) for ids in self.tokenizer(list(texts), truncation=False, padding=False)["input_ids"]]

    def embed(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """The mean of the last layer's states over all tokens of each text, special tokens among them.

        Where the model's authors do so, each is then divided by its Euclidean norm. Padding is masked: a vector is the
        same, up to rounding, in whatever batch its text stands.

        Args:
            ids: as `tokenize` gives them, none empty.

        Returns:
            [B, d_model], float32, on the model's device.
        """
        length = max(len(row) for row in ids)
        tokens = torch.zeros((len(ids), length), dtype=torch.long)
        mask = torch.zeros((len(ids), length), dtype=torch.long)
        for number, row in enumerate(ids):
            tokens[number, : len(row)] = torch.as_tensor(row, dtype=torch.long)
            mask[number, : len(row)] = 1
        tokens, mask = tokens.to(self.device), mask.to(self.device)
        with torch.inference_mode():
            states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state.to(torch.float32)
            weights = mask[..., None].to(torch.float32)
            pooled = (states * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(pooled, dim=-1) if self.normalised else pooled


def load_encoder(name: str, *, device: str = "cpu", progress: Progress | None = None) -> Encoder:
    """Load a text encoder and its tokenizer, computing in float32.

    As for language models, no code of a model is run and nothing is unpickled.

    Args:
        name: `minilm`, the path of a folder (config.json with safetensors), or a hub id such as
            `sentence-transformers/all-mpnet-base-v2`, taken from the local hub cache if it is complete there.
        device: as torch names it.

    Raises:
        UserError: if there is no such model, a package or the network is needed and not there, or the files can't be
            used.
    """
    from transformers import AutoModel

    progress = progress or Silent()
    folder = Path(name).expanduser()
    source: dict[str, Any]
    if name == minilm.NAME:
        folder = minilm.folder()
        # The same files by any other way are the same model.
        source = {"name": name, "title": minilm.TITLE, "kind": "folder", "licence": minilm.LICENCE}
        source |= {"from": f"the package {minilm.PACKAGE}", "sha256": {"model.safetensors": minilm.SHA256}}
    elif name and folder.is_dir():
        weights = {path.name: file_sha256(path) for path in sorted(folder.glob("*.safetensors"))}
        source = {"name": name, "kind": "folder", "from": str(folder.resolve()), "sha256": weights}
    elif is_hub_id(name):
        progress.update(0, 1, f"fetching {name}")
        found = hub_folder(name)
        folder, source = found.folder, hub_source(name, found)
    else:
        raise UserError(f"model {name!r} is neither a folder that is here, nor a hub id, nor {minilm.NAME!r}")
    # What pools by the first token is not used for a mean, and often not in the file.
    model, tokenizer = load_folder(folder, torch.float32, name, AutoModel, may_lack=("pooler.",))
    return Encoder(model.to(device), tokenizer, {**source, "dtype": "float32"}, folder)


def _authors(folder: Path) -> dict[str, Any]:
    """What sentence-transformers' files say of a model: its modules, the pooling, the most tokens; None if unsaid."""
    modules: list[str] = []
    pooling = most = None
    # They are no part of transformers' layout: damaged ones are as good as none.
    with contextlib.suppress(UserError, TypeError, AttributeError, KeyError):
        modules = [str(module["type"]).rpartition(".")[2] for module in read_json(folder / "modules.json")]
    with contextlib.suppress(UserError, AttributeError):
        said = read_json(folder / "1_Pooling" / "config.json")
        named = [
            key.removeprefix("pooling_mode_")
            for key, on in said.items()
            if key.startswith("pooling_mode_") and on is True
        ]
        pooling = ", ".join(part.removesuffix("_tokens").removesuffix("_token") for part in named) or None
    with contextlib.suppress(UserError, AttributeError):
        most = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return {"modules": modules, "pooling": pooling, "max_seq_length": most if isinstance(most, int) else None}

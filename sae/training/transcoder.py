"""Transcoders in training: rows come with what is to be written beside what is read (`side_by_side`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sae.common.precision import exact
from sae.models.base import SAE
from sae.models.transcoder import Transcoder
from sae.training.autograd import Outcome
from sae.training.kernels.sparse_products import encoded
from sae.training.rows import Rows, Sampled
from sae.training.selected import SelectedTrainer
from sae.training.start import FIT_ROWS, Centred, drawn_rows, scaling, side, unit_rows
from sae.training.transcoder_config import TranscoderConfig


class TranscoderTrainer(SelectedTrainer):
    """Minimises ‖y - ŷ‖² for rows [x | y]. Each side is centred and scaled by itself; the units are those of y."""

    model: Transcoder

    def __init__(self, config: TranscoderConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, initial_model(config, rows))
        self._width = rows.d_in // 2
        self._read_shift, self._read_scale = scaling(config, side(rows, 0))

    def target(self, rows: Sampled) -> Centred:
        return side(rows, 1)

    def wanted(self, x: Tensor) -> Tensor:
        return x[:, self._width :]

    def scaled(self, x: Tensor) -> Tensor:
        read, written = x[:, : self._width], x[:, self._width :]
        return torch.cat([(read - self._read_shift) * self._read_scale, (written - self.shift) * self.scale], dim=1)

    def pre_activations(self, x: Tensor) -> Tensor:
        return encoded(x[:, : self._width].contiguous(), None, self.model.W_enc, self.model.b_enc)

    def explained(self, x: Tensor) -> Tensor:
        """What the skip connection leaves over."""
        return self.wanted(x) - self.model.past_features(x[:, : self._width])

    def forward(self, x: Tensor) -> Outcome:
        outcome = super().forward(x)
        return outcome._replace(reconstruction=outcome.reconstruction + self.model.past_features(x[:, : self._width]))

    def reconstruct(self, member: int) -> Callable[[Tensor], Tensor]:
        model = self.finished_model(member)
        return lambda x: model(x[:, : self._width])

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> SAE:
        """For raw rows: the mean of what is read goes into the biases, both scales into the weights that read."""
        stored = Transcoder(self._width, **self.selected.model()).to(self.device)
        stored.load_state_dict(self.model.state_dict())
        ratio, shift = self._read_scale / self.scale, exact(self._read_shift)
        stored.W_enc.mul_(ratio)
        stored.b_enc.copy_(stored.b_enc / self.scale - _read(shift, stored.W_enc))
        stored.b_dec.copy_(self.shift + stored.b_dec / self.scale)
        if stored.W_skip is not None:
            stored.W_skip.mul_(ratio)
            stored.b_dec.sub_(_read(shift, stored.W_skip))
        return stored


def _read(shift: Tensor, weight: Tensor) -> Tensor:
    return (shift @ exact(weight)).float().to(weight.device)


@torch.no_grad()
def initial_model(config: TranscoderConfig, rows: Rows) -> Transcoder:
    """The weights that `config` asks for, on the CPU, for rows as training sees them; b_dec at the mean of y, the skip
    connection at 0. With `decoder_init="rows"` one factor on the encoder fits the first reconstructions best.
    """
    generator = torch.Generator().manual_seed(config.seed)
    width = rows.d_in // 2
    (read_shift, read_scale), (shift, scale) = (scaling(config, side(rows, number)) for number in range(2))
    model = Transcoder(width, **config.model())
    model.b_dec.copy_((side(rows, 1).mean - shift).cpu() * scale)
    if config.decoder_init != "rows":
        model.W_enc.copy_((torch.rand(model.W_enc.shape, generator=generator) * 2 - 1) / math.sqrt(width))
        if config.decoder_init == "random":
            model.W_dec.copy_(unit_rows(torch.randn(model.W_dec.shape, generator=generator)))
        return model
    drawn = drawn_rows(rows, config.d_sae, generator)
    read = unit_rows(drawn[:, :width])
    model.W_enc.copy_(read.T)
    model.W_dec.copy_(unit_rows(drawn[:, width:]))
    # features are to be silent on the mean of what is read, whether training takes it off or not
    offset = (side(rows, 0).mean - read_shift).cpu() * read_scale
    model.b_enc.copy_(-(offset @ model.W_enc))
    first = rows.take(torch.arange(min(FIT_ROWS, rows.n)))
    guess = model((first[:, :width] - read_shift.cpu()) * read_scale) - model.b_dec
    wanted = (first[:, width:] - shift.cpu()) * scale - model.b_dec
    square = float(guess.double().square().sum())
    if square > 0:
        factor = float((guess * wanted).double().sum()) / square
        model.W_enc.mul_(factor)
        model.b_enc.mul_(factor)
    return model

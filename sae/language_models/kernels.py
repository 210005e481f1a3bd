"""The matrix product that is fastest on this CPU, still in exact float32."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@functools.cache
def onednn_linear_helps() -> bool:
    """Whether linear layers should go through oneDNN here.

    torch sends float32 products to MKL, which runs at about half speed on CPUs that are not Intel's; oneDNN is
    exact float32 too. Its operator is private to torch, so it is tried once, and left alone where it is missing or
    gives anything else. A rule rather than a timing: the same machine must give the same bits every time.
    """
    import torch

    try:
        if "AuthenticAMD" not in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"):
            return False
        x, weight, bias = torch.randn(3, 5, 64), torch.randn(32, 64), torch.randn(32)
        ours = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return bool(torch.allclose(ours, torch.nn.functional.linear(x, weight, bias), atol=1e-4))
    except (OSError, RuntimeError, AttributeError, TypeError):
        return False


def use_onednn(model: nn.Module) -> None:
    """Send the linear layers of `model` through oneDNN for good, wherever that is possible.

    It is possible for float32 on the CPU without gradients; anything else goes the usual way.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    def forward(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        usual = torch.is_grad_enabled() or x.dtype != torch.float32 or x.device.type != "cpu"
        if usual or self.weight.dtype != torch.float32 or self.weight.device.type != "cpu":
            return functional.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    for module in model.modules():
        if type(module) is nn.Linear:
            module.forward = forward.__get__(module)  # type: ignore[method-assign]

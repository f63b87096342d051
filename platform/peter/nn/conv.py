"""Dilated convolution over time-major activations: a tap is a row offset, never a copy of windows."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _DilatedConv(torch.autograd.Function):
    """One node for the whole convolution, so that a frozen weight costs no weight gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, causal: bool
    ) -> Tensor:
        length, batch, _ = x.shape
        taps = weight.to(x.dtype)
        rows = x.reshape(length * batch, -1)  # [L*B, C_in]
        ctx.save_for_backward(rows, weight, bias)
        ctx.dilation, ctx.causal, ctx.shape = dilation, causal, x.shape
        level = weight.new_zeros(weight.shape[2]) if bias is None else bias
        out = level.to(x.dtype).expand(len(rows), -1).clone()  # [L*B, C_out]
        for tap, source, target in _taps(len(taps), length, batch, dilation, causal):
            out[target].addmm_(rows[source], taps[tap])
        return out.view(length, batch, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias = ctx.saved_tensors
        length, batch, _ = ctx.shape
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad = grad.reshape(length * batch, -1)  # [L*B, C_out]
        taps = weight.to(grad.dtype)
        grad_x = torch.zeros_like(rows) if need_x else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        for tap, source, target in _taps(len(taps), length, batch, ctx.dilation, ctx.causal):
            if grad_x is not None:
                grad_x[source].addmm_(grad[target], taps[tap].T)
            if grad_weight is not None:
                grad_weight[tap] = rows[source].T @ grad[target]
        grad_bias = grad.sum(0, dtype=bias.dtype) if need_bias else None
        return grad_x if grad_x is None else grad_x.view(ctx.shape), grad_weight, grad_bias, None, None


def _taps(
    taps: int, length: int, batch: int, dilation: int, causal: bool
) -> Iterator[tuple[int, slice, slice]]:
    """(tap, rows read, rows written) of every tap that reaches into the sequence."""
    left = dilation * (taps - 1 if causal else (taps - 1) // 2)
    for tap in range(taps):
        offset = tap * dilation - left  # in time steps, against the row that is written
        if abs(offset) < length:
            first, last = max(0, -offset), length - max(0, offset)
            yield (
                tap,
                slice((first + offset) * batch, (last + offset) * batch),
                slice(first * batch, last * batch),
            )


def dilated_conv(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, causal: bool) -> Tensor:
    """out[t] = bias + sum_j x[t + j * dilation - left] @ weight[j], rows outside the sequence being zero.

    Args:
        x: [L, B, C_in]; a bfloat16 `x` is computed in bfloat16 whatever the dtype of the weights.
        weight: [taps, C_in, C_out], oldest tap first.
        bias: [C_out], or None for zero.
        dilation: steps between two taps.
        causal: the last tap is the present; otherwise the middle one is.
    """
    out: Tensor = _DilatedConv.apply(x, weight, bias, dilation, causal)  # type: ignore[no-untyped-call]
    return out  # [L, B, C_out]


class DilatedConv(nn.Module):
    """`dilated_conv` with its parameters; `outputs` is C_out where it is not C_in = `channels`."""

    bias: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        taps: int,
        dilation: int,
        causal: bool,
        outputs: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        outputs = outputs or channels
        self.weight = nn.Parameter(torch.empty(taps, channels, outputs))
        self.register_parameter("bias", nn.Parameter(torch.zeros(outputs)) if bias else None)
        self.dilation, self.causal = dilation, causal

    def forward(self, x: Tensor) -> Tensor:
        return dilated_conv(x, self.weight, self.bias, self.dilation, self.causal)  # [L, B, C_out]

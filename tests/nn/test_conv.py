"""The dilated convolution against torch's own."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peter.nn.conv import dilated_conv


def reference(x: Tensor, weight: Tensor, bias: Tensor, dilation: int, causal: bool) -> Tensor:
    """The same by conv1d over explicitly padded [B, C, L]."""
    reach = (len(weight) - 1) * dilation
    padding = (reach, 0) if causal else (reach // 2, reach // 2)
    padded = F.pad(x.permute(1, 2, 0), padding)
    return F.conv1d(padded, weight.permute(2, 1, 0), bias, dilation=dilation).permute(2, 0, 1)


def operands(length: int, taps: int = 3, inner: int = 5, outer: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    shapes = ((length, 3, inner), (taps, inner, outer), (outer,))
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes
    )
    return x, weight, bias


CASES = list(itertools.product([1, 2, 7, 20], [1, 2, 8], [True, False]))


@pytest.mark.parametrize(("length", "dilation", "causal"), CASES)
def test_agrees_with_conv1d_forward_and_backward(length: int, dilation: int, causal: bool) -> None:
    inputs = operands(length)
    ours, theirs = dilated_conv(*inputs, dilation, causal), reference(*inputs, dilation, causal)
    torch.testing.assert_close(ours, theirs)
    seed = torch.randn_like(ours)
    for mine, torchs in zip(
        torch.autograd.grad(ours, inputs, seed), torch.autograd.grad(theirs, inputs, seed), strict=True
    ):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_are_numerically_right(causal: bool) -> None:
    def conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return dilated_conv(x, weight, bias, 2, causal)

    assert torch.autograd.gradcheck(conv, operands(5))


@pytest.mark.parametrize("taps", [1, 2, 4, 5])
def test_any_number_of_taps(taps: int) -> None:
    inputs = operands(9, taps=taps)
    torch.testing.assert_close(dilated_conv(*inputs, 2, True), reference(*inputs, 2, True))


def test_frozen_weights_get_no_gradient_but_pass_one_on() -> None:
    x, weight, bias = operands(6)
    weight.requires_grad_(False)
    bias.requires_grad_(False)
    dilated_conv(x, weight, bias, 1, True).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
    assert bias.grad is None


def test_bfloat16_activations_keep_float32_weights() -> None:
    x, weight, bias = (tensor.detach().float().requires_grad_() for tensor in operands(6))
    out = dilated_conv(x.bfloat16(), weight, bias, 1, True)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), dilated_conv(x, weight, bias, 1, True), rtol=0.05, atol=0.05)
    out.float().square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    assert bias.grad is not None
    assert bias.grad.dtype == torch.float32

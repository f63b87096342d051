"""The residual blocks of NextItNet: LayerNorm and ReLU behind each convolution, or in front of it."""

import torch.nn.functional as F
from torch import Tensor, nn

from peter.nn.conv import DilatedConv
from peter.nn.graft import Graft

EPS = 1e-8


class ResidualBlock(nn.Module):
    """z = ReLU(LN1(conv_r(x))); y = x + ReLU(LN2(conv_2r(z))), with r the dilation (PeterRec, section 3.1).

    Both sub-layers leave padded rows at exactly 0, so that a padded and an unpadded window agree.
    """

    def __init__(self, channels: int, taps: int, dilation: int, causal: bool) -> None:
        super().__init__()
        self.conv1 = DilatedConv(channels, taps, dilation, causal)
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.conv2 = DilatedConv(channels, taps, 2 * dilation, causal)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)

    def forward(self, x: Tensor, real: Tensor | None, graft: Graft, site: int) -> Tensor:
        """[L, B, C] -> [L, B, C]; `real` as in `mask`; `site` is the block's first site."""
        z = _sub_layer(self.conv1, self.norm1, x, real, graft, site)  # [L, B, C]
        return x + _sub_layer(self.conv2, self.norm2, z, real, graft, site + 1)


def _sub_layer(
    conv: DilatedConv, frozen: nn.LayerNorm, x: Tensor, real: Tensor | None, graft: Graft, site: int
) -> Tensor:
    y = graft.inside(site, x, conv(x))
    y = F.relu(layer_norm(y, graft.norm(site, frozen)))
    return mask(graft.outside(site, x, y), real)


class PreActivationBlock(nn.Module):
    """y = x + conv_2r(ReLU(LN2(conv_r(ReLU(LN1(x)))))), with r the dilation (NextItNet, figure 3b; Conure).

    A patch sits behind a convolution, inside and outside alike, as nothing follows there.
    """

    def __init__(self, channels: int, taps: int, dilation: int, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.conv1 = DilatedConv(channels, taps, dilation, causal)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.conv2 = DilatedConv(channels, taps, 2 * dilation, causal)

    def forward(self, x: Tensor, real: Tensor | None, graft: Graft, site: int) -> Tensor:
        """[L, B, C] -> [L, B, C]; `real` as in `mask`; `site` is the block's first site."""
        z = _pre_activated(self.conv1, self.norm1, x, real, graft, site)  # [L, B, C]
        return x + _pre_activated(self.conv2, self.norm2, z, real, graft, site + 1)


def _pre_activated(
    conv: DilatedConv, frozen: nn.LayerNorm, x: Tensor, real: Tensor | None, graft: Graft, site: int
) -> Tensor:
    a = mask(F.relu(layer_norm(x, graft.norm(site, frozen))), real)  # a norm's bias would leak from padding
    y = graft.inside(site, a, conv(a))
    return mask(graft.outside(site, a, y), real)


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """`norm` over the channels, its float32 parameters cast to the activations' dtype."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """`layer`, its float32 parameters cast to the activations' dtype."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)


def mask(x: Tensor, real: Tensor | None) -> Tensor:
    """Zero the padded rows of x [L, B, C]; `real` is [L, B, 1] of 0 and 1, or None when nothing is padded."""
    return x if real is None else x * real

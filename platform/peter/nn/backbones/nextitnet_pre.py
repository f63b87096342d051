"""NextItNet with its activations in front of the convolutions: the body of Conure (SIGIR 2021)."""

from functools import partial

from peter.nn.backbones.nextitnet import NextItNet
from peter.nn.blocks import PreActivationBlock

plugin = partial(NextItNet, block=PreActivationBlock)

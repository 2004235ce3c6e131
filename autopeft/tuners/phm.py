"""Parameterised hypercomplex multiplication (PHM) layers of Compacter.

[Karimi Mahabadi, Henderson, Ruder 2021, arXiv 2106.04647, section 4]

n: number of Kronecker terms; i = 1..n.
A_i: (n, n); s_i: (d_in / n,); t_i: (d_out / n,); b: (d_out,)
    W = sum_i A_i kron (s_i t_i^T)        (d_in, d_out)
    y = x W + b

A layer has n^3 + d_in + d_out + d_out parameters. The paper shares A between all layers; here every
layer has its own: n^3 is small, and an adapter stays whole without the others.
"""

import torch
from torch import Tensor, nn


class PhmLinear(nn.Module):  # type: ignore[misc]
    """A linear layer with a PHM weight of rank-1 factors; W has the variance 1 / d_in at first.

    Raises:
        ValueError: n does not divide both widths.
    """

    def __init__(self, d_in: int, d_out: int, n: int) -> None:
        super().__init__()
        if d_in % n or d_out % n:
            raise ValueError(
                f"phm_dim divides the widths on both sides, got phm_dim={n} for {d_in} -> {d_out}: "
                "choose a common divisor, or phm_dim=0 for dense layers"
            )
        self.A = nn.Parameter(torch.randn(n, n, n) / n**0.5)
        self.s = nn.Parameter(torch.randn(n, d_in // n) / d_in**0.5)
        self.t = nn.Parameter(torch.randn(n, d_out // n))
        self.bias = nn.Parameter(torch.zeros(d_out))

    def forward(self, x: Tensor) -> Tensor:
        """y: (..., d_out) of x: (..., d_in); W is never built."""
        n = len(self.A)
        blocks = x.unflatten(-1, (n, -1))
        mixed = torch.einsum("...ap,ip,iab->...ib", blocks, self.s, self.A)
        return torch.einsum("...ib,iq->...bq", mixed, self.t).flatten(-2) + self.bias

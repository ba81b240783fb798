"""What the networks minimise: errors of the maps, weighted by where and how strong the true peaks are.

Every loss is first a mean over each pattern's pixels, then over patterns: batches may be split over devices at will.
"""

import torch
from torch import Tensor, nn

from fourdcrystal.experiment import Loss
from fourdcrystal.network import HEIGHT, compress


def vg_loss(root: Tensor, vg: Tensor, peaks: Tensor, peak_weight: float) -> Tensor:
    """Weighted mean squared error of √V_g [V], with weights 1 + ``peak_weight`` · ``peaks``, (B,).

    Args:
        root: Predicted √V_g, (B, X, Y).
        vg: True V_g [V], (B, X, Y).
        peaks: True peaks at unit height, whatever their strength, (B, X, Y).
        peak_weight: Extra weight at the centre of a peak.
    """
    weight = 1 + peak_weight * peaks
    return (weight * (root - compress(vg)) ** 2).sum((-2, -1)) / weight.sum((-2, -1))


def qz_loss(scaled: Tensor, qz: Tensor, curvature: Tensor, vg: Tensor) -> Tensor:
    """Mean squared error of q_z / (λ dq² HEIGHT) weighted by the true V_g: it has no meaning elsewhere, (B,).

    Args:
        scaled: Predicted q_z / (λ dq² HEIGHT), (B, X, Y).
        qz: True q_z [1/Å], (B, X, Y).
        curvature: λ dq² [1/Å], (B,).
        vg: True V_g [V], (B, X, Y).
    """
    tiny = torch.finfo(vg.dtype).tiny
    true = qz / (HEIGHT * curvature[:, None, None])
    return (vg * (scaled - true) ** 2).sum((-2, -1)) / vg.sum((-2, -1)).clamp(min=tiny)


class MapLoss(nn.Module):
    """Both losses in one number, with fixed weights or learned ones.

    Learned: Σ_i exp(-s_i) L_i + s_i with s_i the logarithm of a task's variance (Kendall, Gal & Cipolla, CVPR 2018,
    eq. 10, up to a factor of 2).

    Args:
        settings: Weights.
    """

    def __init__(self, settings: Loss) -> None:
        super().__init__()
        self.settings = settings
        self.log_variances = nn.Parameter(torch.zeros(2), requires_grad=settings.learned)

    def forward(self, raw: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses ``loss``, ``vg_loss`` and ``qz_loss`` of a network's raw output, scalars.

        Args:
            raw: √V_g and q_z / (λ dq² HEIGHT), (B, 2, X, Y).
            batch: ``vg``, ``qz`` and ``peaks``, each (B, X, Y), and ``curvature``, (B,), see
                :func:`fourdcrystal.artefacts.apply`.
        """
        raw = raw.float()
        vg = vg_loss(raw[:, 0], batch["vg"], batch["peaks"], self.settings.peak).mean()
        qz = qz_loss(raw[:, 1], batch["qz"], batch["curvature"], batch["vg"]).mean()
        if self.settings.learned:
            loss = (torch.exp(-self.log_variances) * torch.stack([vg, qz]) + self.log_variances).sum()
        else:
            loss = vg + self.settings.qz * qz
        return {"loss": loss, "vg_loss": vg.detach(), "qz_loss": qz.detach()}

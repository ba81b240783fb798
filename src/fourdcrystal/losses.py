"""What the networks minimise: errors of the maps, weighted by where and how strong the true peaks are.

Every loss is first a mean over each pattern's pixels, then over patterns: batches may be split over devices at will.
"""

import torch
from torch import Tensor, nn

from fourdcrystal.experiment import Loss
from fourdcrystal.network import HEIGHT, STRENGTH, expand

RISE = 0.016  # 1/Å; q_z of the Ewald sphere at 1 1/Å, about


def vg_loss(root: Tensor, vg: Tensor, volts: Tensor, peaks: Tensor, peak_weight: float) -> Tensor:
    """Weighted mean squared error of √V_g [V], with weights 1 + ``peak_weight`` · ``peaks``, (B,).

    In volts, so that patterns count alike whatever their camera length.

    Args:
        root: Predicted √(U_g / STRENGTH), (B, X, Y).
        vg: True V_g [V], (B, X, Y).
        volts: The V_g whose U_g is 1 px² [V], (B,).
        peaks: True peaks at unit height, whatever their strength, (B, X, Y).
        peak_weight: Extra weight at the centre of a peak.
    """
    weight = 1 + peak_weight * peaks
    unit = (STRENGTH * volts).sqrt()[:, None, None]
    return (weight * (unit * root - vg.clamp(min=0).sqrt()) ** 2).sum((-2, -1)) / weight.sum((-2, -1))


def r_factor(root: Tensor, vg: Tensor, volts: Tensor) -> Tensor:
    """R = Σ|V - V̂| / Σ V of maps of V_g [V], (B,); strong reflections make most of it.

    Args:
        root: Predicted √(U_g / STRENGTH), (B, X, Y).
        vg: True V_g [V], (B, X, Y).
        volts: The V_g whose U_g is 1 px² [V], (B,).
    """
    found = expand(root) * volts[:, None, None]
    return (found - vg).abs().sum((-2, -1)) / vg.sum((-2, -1)).clamp(min=torch.finfo(vg.dtype).tiny)


def qz_loss(scaled: Tensor, qz: Tensor, curvature: Tensor, vg: Tensor) -> Tensor:
    """Mean squared error of q_z / RISE weighted by the true V_g: it has no meaning elsewhere, (B,).

    In 1/Å, so that patterns count alike whatever their camera length.

    Args:
        scaled: Predicted q_z / (λ dq² HEIGHT), (B, X, Y).
        qz: True q_z [1/Å], (B, X, Y).
        curvature: λ dq² [1/Å], (B,).
        vg: True V_g [V], (B, X, Y).
    """
    tiny = torch.finfo(vg.dtype).tiny
    error = (scaled * HEIGHT * curvature[:, None, None] - qz) / RISE
    return (vg * error**2).sum((-2, -1)) / vg.sum((-2, -1)).clamp(min=tiny)


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
        """``loss``, ``vg_loss``, ``qz_loss`` and ``vg_r_factor`` of a network's raw output, scalars.

        Args:
            raw: √(U_g / STRENGTH) and q_z / (λ dq² HEIGHT), (B, 2, X, Y).
            batch: ``vg``, ``qz`` and ``peaks``, each (B, X, Y), and ``curvature`` and ``volts``, each (B,), see
                :func:`fourdcrystal.artefacts.apply`.
        """
        raw = raw.float()
        square = vg_loss(raw[:, 0], batch["vg"], batch["volts"], batch["peaks"], self.settings.peak).mean()
        r = r_factor(raw[:, 0], batch["vg"], batch["volts"]).mean()
        vg = square + self.settings.linear * r
        qz = qz_loss(raw[:, 1], batch["qz"], batch["curvature"], batch["vg"]).mean()
        if self.settings.learned:
            loss = (torch.exp(-self.log_variances) * torch.stack([vg, qz]) + self.log_variances).sum()
        else:
            loss = vg + self.settings.qz * qz
        return {"loss": loss, "vg_loss": square.detach(), "qz_loss": qz.detach(), "vg_r_factor": r.detach()}

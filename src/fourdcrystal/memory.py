"""How much memory there is to work with: of the machine, of its control group (as SLURM sets it), or of a GPU."""

from pathlib import Path

import psutil
import torch

GROUP = Path("/sys/fs/cgroup")


def free(device: torch.device) -> int:
    """Bytes that can be had now on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(psutil.virtual_memory().available, _left_in_group(GROUP))


def _left_in_group(group: Path) -> int:
    """What the control group (version 2) of this process leaves; without one, no limit."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        folder = group / own
        most = (folder / "memory.max").read_text().strip()
        return 2**62 if most == "max" else int(most) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return 2**62  # other versions, other systems

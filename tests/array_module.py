"""NumPy in the part of CuPy, so that the code path of a GPU runs without one."""

from types import SimpleNamespace

import numpy as np


def like_cupy(free: int = 2**40, most: int = 10**6) -> SimpleNamespace:
    """An array module whose device has ``free`` bytes, and no memory to transform more than ``most`` waves at a time.

    ``batches`` lists how many waves were transformed at a time.
    """
    batches: list[int] = []

    def fft2(waves: np.ndarray) -> np.ndarray:
        batches.append(int(np.prod(waves.shape[:-2])))
        if batches[-1] > most:
            raise MemoryError
        return np.fft.fft2(waves)

    pool = SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)
    arrays = {name: getattr(np, name) for name in dir(np)} | {"fft": SimpleNamespace(fft2=fft2, ifft2=np.fft.ifft2)}
    return SimpleNamespace(
        **arrays,
        asnumpy=np.asarray,
        cuda=SimpleNamespace(Device=lambda: SimpleNamespace(mem_info=(free, free))),
        get_default_memory_pool=lambda: pool,
        batches=batches,
    )

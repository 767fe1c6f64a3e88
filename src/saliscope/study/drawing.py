"""Two images drawn in code for the demonstration; the truth of what is in them is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = 7
#: Where the spots of the drawn volume lie, in millimetres RAS+, and their radii.
SPOTS_MM = (((28.0, 12.0, 10.0), 8.0), ((-20.0, -30.0, -8.0), 7.0))


def write_ultrasound(folder: Path) -> Path:
    """Write the picture of a dark lesion in speckle and return its path."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "drawn-ultrasound.png"
    Image.fromarray(lesion_in_speckle(), "L").save(path)
    return path


def write_volume(folder: Path) -> Path:
    """Write the volume of a head with bright spots as NIfTI, tilted and with thick slices, and return its path."""
    import nibabel as nib

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "drawn-volume.nii"
    image = nib.Nifti1Image(*head_with_spots())
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def lesion_in_speckle(size: int = 256) -> npt.NDArray[np.uint8]:
    """Return a picture (size, size): layers of tissue, a lesion with an uneven rim, a shadow below it, speckle."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(SEED)
    row, column = np.mgrid[:size, :size] / size
    tissue = 0.30 + 0.10 * np.sin(9 * row + 1.5 * np.sin(5 * column)) + 0.25 * np.exp(-(((row - 0.12) / 0.05) ** 2))
    angle = np.arctan2(row - 0.48, column - 0.60)
    rim = 1 + 0.16 * np.sin(5 * angle + 1) + 0.10 * np.sin(11 * angle)
    distance = np.hypot((row - 0.48) / 0.15, (column - 0.60) / 0.20) / rim
    inside = 1 / (1 + np.exp((distance - 1) * 14))
    shadow = (row > 0.48) * np.exp(-(((column - 0.60) / 0.13) ** 4)) * 0.45
    reflected = tissue * (1 - 0.85 * inside) * (1 - shadow * (1 - inside))
    speckle = gaussian_filter(random.rayleigh(0.8, (size, size)), (0.7, 1.4))
    depth = np.exp(-0.7 * row)
    picture: npt.NDArray[np.uint8] = np.clip(255 * 1.25 * reflected * speckle * depth, 0, 255).astype(np.uint8)
    return picture


def head_with_spots() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return a volume (column, row, plane) and its RAS+ affine: an ellipsoid, noise, and the spots."""
    from scipy.spatial.transform import Rotation

    shape, spacing = np.array([96, 112, 40]), np.array([1.6, 1.6, 3.5])
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xz", [12, 5], degrees=True).as_matrix() * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    at = index @ affine[:3, :3].T + affine[:3, 3]
    radius = np.linalg.norm(at / np.array([62.0, 78.0, 58.0]), axis=-1)
    head = 150 / (1 + np.exp((radius - 0.9) * 30))
    for centre, size in SPOTS_MM:
        head += 450 / (1 + np.exp((np.linalg.norm(at - np.array(centre), axis=-1) - size) * 1.5))
    noise = np.random.default_rng(SEED).normal(0, 15, shape)
    return np.abs(head + noise).astype(np.float32), affine

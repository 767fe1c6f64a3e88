"""Files of several frames: enhanced volumes, stacks, time points and cine."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from saliscope.core.errors import InputError, MixedSeries
from saliscope.read import discover, read

NONE = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None, "RescaleSlope": None}
ENHANCED = {**NONE, "RescaleIntercept": None, "Modality": "MR", "SOPClassUID": EnhancedMRImageStorage}


def item(**tags: object) -> list[Dataset]:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return [made]


def enhanced(make, positions: Sequence[float], content: Sequence[dict] | None = None, **tags: object) -> Path:
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.5, 0.25], SliceThickness=9)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    frames = []
    for i, z in enumerate(positions):
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=[0, 0, z])
        frame.PixelValueTransformationSequence = item(RescaleSlope=i + 1, RescaleIntercept=-1, RescaleType="US")
        frame.FrameVOILUTSequence = item(WindowCenter=10, WindowWidth=20)
        frame.FrameContentSequence = item(**(content[i] if content else {}))
        frames.append(frame)
    pixels = np.stack([np.full((4, 5), 10 + i, np.uint16) for i in range(len(positions))])
    more = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
    return make(pixels=pixels, NumberOfFrames=len(positions), **{**ENHANCED, **more, **tags})


def test_an_enhanced_volume_is_sorted_placed_and_rescaled_by_frame(make) -> None:
    image = read(enhanced(make, [6, 0, 3, 9]))
    assert image.geometry.shape == (4, 4, 5)
    assert image.geometry.spacing == (3.0, 0.5, 0.25)
    assert image.values[0, :, 0, 0].tolist() == [11 * 2 - 1, 12 * 3 - 1, 10 * 1 - 1, 13 * 4 - 1]
    assert np.allclose(image.geometry.to_world([3, 0, 0]), [0, 0, 9])
    assert not any("frames that make no volume" in n for n in image.notes)


def test_a_gap_in_an_enhanced_volume_is_refused(make) -> None:
    with pytest.raises(MixedSeries, match=r"a gap of 6\.00 mm"):
        read(enhanced(make, [0, 3, 6, 12, 15]))


def test_of_several_time_points_the_first_is_read_and_said(make) -> None:
    content = [{"TemporalPositionIndex": 2 - i // 3, "StackID": "1"} for i in range(6)]
    image = read(enhanced(make, [0, 2, 4, 0, 2, 4], content))
    assert image.geometry.shape == (3, 4, 5)
    assert image.values[0, 0, 0, 0] == 13 * 4 - 1
    assert any("2 stacks or time points; the first is read" in n for n in image.notes)


def test_frames_that_share_positions_are_refused_with_advice(make) -> None:
    with pytest.raises(MixedSeries, match=r"6 frames at 3 positions.*Export one of them"):
        read(enhanced(make, [0, 2, 4, 0, 2, 4]))


def test_frames_of_one_position_are_no_volume(make) -> None:
    image = read(enhanced(make, [5, 5, 5]))
    assert image.geometry.shape == (4, 5)
    assert np.allclose(image.geometry.origin, [0, 0, 5])
    assert any("3 frames that make no volume; frame 1 is shown" in n for n in image.notes)


def test_a_frame_may_be_chosen(make) -> None:
    pixels = np.stack([np.full((4, 5), 10 + i, np.uint8) for i in range(5)])
    (source,), _ = discover(
        [make(pixels=pixels, NumberOfFrames=5, **{**NONE, "Modality": "US"}, RescaleIntercept=None)]
    )
    assert source.load().values.max() == 10
    chosen = replace(source, frame=3).load()
    assert chosen.values.max() == 13
    assert any("frame 4 is shown" in n for n in chosen.notes)
    with pytest.raises(InputError, match="frame 6 of 5"):
        replace(source, frame=5).load()

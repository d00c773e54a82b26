"""Looking through data sets, whole and broken."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from proscale_bench.data.check import check_dataset
from proscale_bench.errors import BenchError
from proscale_bench.results.data_check import KINDS, DataCheck
from tests.data.broken import BROKEN_FILES, ERRORS, IMAGES, WARNED, Break
from tests.data.made import make_dataset
from tests.models.golden import shared


def kinds(check: DataCheck) -> list[str]:
    return [kind.name for kind, _ in check.by_kind()]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("semantic", [False, True])
def test_nothing_is_wrong_with_a_whole_data_set(tmp_path: Path, semantic: bool, quick: bool) -> None:
    make_dataset(tmp_path, semantic=semantic)
    check = check_dataset(tmp_path, quick=quick)
    assert check.findings == ()
    assert (check.images, check.things, check.stuff) == (3, 2, 2)
    assert (check.maps, check.segments) == (3, 12)
    assert (check.instances, check.crowds, check.images_with_instances) == (6, 3, 3)
    assert check.semantic_dir == ("panoptic_semseg_val2017" if semantic else None)
    assert check.tasks == ("panoptic", "instance", "semantic")


@pytest.mark.parametrize(("without", "tasks"), [("panoptic", ("instance",)), ("instances", ("panoptic", "semantic"))])
def test_tasks_are_those_with_truth(tmp_path: Path, without: str, tasks: tuple[str, ...]) -> None:
    make_dataset(tmp_path, **{without: False})
    check = check_dataset(tmp_path)
    assert check.findings == ()
    assert check.tasks == tasks


@pytest.mark.parametrize("case", [*ERRORS, *WARNED], ids=lambda case: case.name)
def test_what_is_wrong_is_found_and_named(tmp_path: Path, case: Break) -> None:
    made = make_dataset(tmp_path, IMAGES, semantic=True)
    case.how(made)
    check = check_dataset(tmp_path)
    found = [str(finding) for finding in check.findings if finding.kind == case.kind]
    assert any(re.search(case.words, line) for line in found), [str(finding) for finding in check.findings]
    assert KINDS[case.kind].severity == ("warning" if case in WARNED else "error")
    assert (check.errors > 0) == (case not in WARNED)


HEADERS_TELL = {"missing-image", "image-size", "missing-map", "map-size", "missing-labels", "labels-size"}


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in BROKEN_FILES
        if case.kind in HEADERS_TELL or re.search("empty|pipe|bomb|grey|page|16 bits", case.name)
    ],
    ids=lambda case: case.name,
)
def test_headers_tell_much(tmp_path: Path, case: Break) -> None:
    made = make_dataset(tmp_path, IMAGES, semantic=True)
    case.how(made)
    assert case.kind in kinds(check_dataset(tmp_path, quick=True))


def test_one_broken_file_hides_no_other(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, 5)
    made.instances_json.write_text("{")
    (made.images / "000000000010.jpg").unlink()
    (made.maps / "000000000012.png").write_bytes(b"")
    (made.maps / "000000000014.png").unlink()
    check = check_dataset(tmp_path)
    assert [(finding.kind, finding.file, finding.image_id) for finding in check.findings] == [
        ("unreadable-annotations", "annotations/instances_val2017.json", None),
        ("missing-image", "val2017/000000000010.jpg", 10),
        ("unreadable-map", "panoptic_val2017/000000000012.png", 12),
        ("missing-map", "panoptic_val2017/000000000014.png", 14),
    ]
    assert check.tasks == ("panoptic", "semantic")


def test_a_broken_panoptic_file_blames_nothing_else(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, semantic=True)
    made.panoptic_json.write_text("{")
    check = check_dataset(tmp_path)
    assert kinds(check) == ["unreadable-annotations"]
    assert check.tasks == ("instance", "semantic")


def test_nothing_readable_is_nothing_to_evaluate(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    made.instances_json.write_text("{")
    made.panoptic_json.write_text("[")
    check = check_dataset(tmp_path)
    assert kinds(check) == ["unreadable-annotations"]
    assert (check.errors, check.tasks, check.images) == (2, (), 0)


def test_a_folder_without_annotations_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no folder annotations"):
        check_dataset(tmp_path)


def test_images_lying_on_their_side_are_measured_upright(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    path = made.images / "000000000010.jpg"
    lying = Image.open(path).rotate(90, expand=True)
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(path, exif=exif)
    for quick in (False, True):
        assert check_dataset(tmp_path, quick=quick).findings == ()


def test_files_of_other_splits_are_listed_somewhere_else(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    (tmp_path / "val2017").rename(tmp_path / "images")
    (tmp_path / "images" / "of_another_split.jpg").write_bytes(b"")
    assert check_dataset(tmp_path).findings == ()


def test_hidden_files_are_nobodys(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    (made.images / ".DS_Store").write_bytes(b"")
    assert check_dataset(tmp_path).findings == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    (made.images / "000000000010.jpg").chmod(0)
    made.instances_json.chmod(0)
    made.maps.chmod(0)
    try:
        check = check_dataset(tmp_path)
    finally:
        made.maps.chmod(0o755)
    assert kinds(check) == ["unreadable-annotations", "unreadable-image", "unreadable-map", "unreadable-folder"]


def test_the_order_and_the_findings_do_not_depend_on_threads(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, 20)
    for index in (3, 17, 8):
        (made.images / f"{10 + index:012}.jpg").unlink()
    one, many = check_dataset(tmp_path, workers=1), check_dataset(tmp_path, workers=7)
    assert one == many
    assert [finding.image_id for finding in one.findings] == [13, 18, 27]


def test_progress_counts_images(tmp_path: Path) -> None:
    make_dataset(tmp_path, 5)
    seen: list[tuple[int, int]] = []
    check_dataset(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_the_row_has_every_finding(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    (made.images / "000000000011.jpg").unlink()
    row = check_dataset(tmp_path).row()
    assert (row["usable"], row["errors"], row["warnings"]) == (False, 1, 0)
    assert row["findings"] == [
        {
            "severity": "error",
            "kind": "missing-image",
            "file": "val2017/000000000011.jpg",
            "image_id": 11,
            "message": "not there",
        }
    ]


def test_real_panoptic_ground_truth_has_no_fault(tmp_path: Path) -> None:
    source = shared("real/panopticapi_sample")
    (tmp_path / "annotations").mkdir()
    shutil.copy(source / "panoptic_examples.json", tmp_path / "annotations" / "panoptic_val.json")
    shutil.copytree(source / "input_images", tmp_path / "val")
    shutil.copytree(source / "panoptic_examples", tmp_path / "panoptic_val")
    check = check_dataset(tmp_path)
    assert check.findings == ()
    assert (check.images, check.things, check.stuff) == (2, 80, 53)


def test_the_two_channel_form_is_taken_for_what_it_is(tmp_path: Path) -> None:
    source = shared("real/panopticapi_sample")
    (tmp_path / "annotations").mkdir()
    shutil.copy(source / "panoptic_examples.json", tmp_path / "annotations" / "panoptic_val.json")
    shutil.copytree(source / "input_images", tmp_path / "val")
    shutil.copytree(source / "panoptic_examples_2ch_format", tmp_path / "panoptic_val")
    assert {"unlisted-id", "segment-without-pixels"} <= set(kinds(check_dataset(tmp_path)))


def test_real_instances_have_no_fault(tmp_path: Path) -> None:
    source = shared("real/val2014_100/instances_val2014_100.json")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2014").mkdir()
    shutil.copy(source, tmp_path / "annotations" / "instances_val2014.json")
    check = check_dataset(tmp_path)
    assert kinds(check) == ["missing-image"]  # they are not ours to ship
    assert (check.errors, check.instances, check.crowds) == (100, 839, 9)

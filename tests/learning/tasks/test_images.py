"""EMNIST and CIFAR-100 are read from files in their own formats, and a file that is not as it should be is named."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from learning.checked_task import checked_differentiable
from learning.exact import first_weights, stream_key
from learning.task import TaskError, differentiable
from learning.task_check import check_gradient, check_task
from learning.tasks.catalogue import BUILT_IN_TASKS, BuiltInTask
from learning.tasks.cifar import RECORD_BYTES, cifar100_task
from learning.tasks.emnist import BALANCED, LETTERS, emnist_task
from learning.tasks.files import FOLDER_VARIABLE, data_folder
from learning.tasks.images import (
    SAMPLES_MAX,
    TEST_SAMPLES_MAX,
    Brightness,
    DataFile,
    read_idx,
    subset_for_tests,
)
from learning.tasks.loading import load_task
from learning.tasks.supervised import Samples
from tests.learning.tasks.picture_files import cifar_files, emnist_files, idx_bytes

FROM_FILES = [entry for entry in BUILT_IN_TASKS if not entry.data_digest]


def file_in(folder: Path, name: str = "numbers") -> DataFile:
    return DataFile("mine", folder, "unpacked", name, "three numbers", "the shelf")


def fault_of(call: Callable[[], object]) -> str:
    with pytest.raises(TaskError) as raised:
        call()
    return str(raised.value)


# --- EMNIST -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_emnist_is_read_upright_from_plain_and_compressed_files(tmp_path: Path, ending: str) -> None:
    contents = emnist_files(tmp_path, "balanced", 0, 47, ending=ending)
    task = emnist_task(BALANCED, tmp_path)
    minibatch = task.minibatch(np.arange(12))
    assert minibatch.inputs[:, 0].tolist() == contents["train-images-idx3"].transpose(0, 2, 1).tolist()
    assert minibatch.labels.tolist() == task.sample_labels.tolist() == contents["train-labels-idx1"].tolist()
    assert (minibatch.inputs.dtype, minibatch.inputs.shape) == (np.uint8, (12, 1, 28, 28))


def test_the_labels_of_letters_begin_at_one_in_the_files(tmp_path: Path) -> None:
    contents = emnist_files(tmp_path, "letters", 1, 26)
    assert emnist_task(LETTERS, tmp_path).sample_labels.tolist() == (contents["train-labels-idx1"] - 1).tolist()


def test_compression_and_folder_are_no_part_of_the_data(tmp_path: Path) -> None:
    contents = emnist_files(tmp_path, "balanced", 0, 47)
    unpacked = tmp_path / "elsewhere" / "gzip"
    unpacked.mkdir(parents=True)
    for name, values in contents.items():
        (unpacked / f"emnist-balanced-{name}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values)))
    digests = [emnist_task(BALANCED, folder).data_digest for folder in (tmp_path, tmp_path / "elsewhere")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 46, 47, 1] * 3), "has the label 47 for sample 2, expected 0..46"),
        (np.zeros(11), "has 11 labels, expected 12, as many as emnist-balanced-train-images-idx3-ubyte has images"),
    ],
)
def test_labels_that_do_not_fit_are_named(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    emnist_files(tmp_path, "balanced", 0, 47)
    path = tmp_path / "emnist-balanced-train-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(labels))
    found = fault_of(lambda: emnist_task(BALANCED, tmp_path))
    assert found.startswith(
        f"task 'emnist': {path} {message}; it should be idx labels, unsigned bytes, as many as images. Get it"
    )


def test_a_label_below_the_first_one_is_named(tmp_path: Path) -> None:
    emnist_files(tmp_path, "letters", 1, 26)
    (tmp_path / "emnist-letters-test-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([3, 0, 1, 1, 1])))
    assert "has the label 0 for sample 1, expected 1..26;" in fault_of(lambda: emnist_task(LETTERS, tmp_path))


# --- idx ----------------------------------------------------------------------------------------------------------------


VALUES = np.arange(18).reshape(2, 3, 3)


def test_values_come_back_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_bytes(idx_bytes(VALUES))
    assert read_idx(file_in(tmp_path), (3, 3)).tolist() == VALUES.tolist()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_cut_off_at_any_byte_is_named(tmp_path: Path, ending: str) -> None:
    whole = gzip.compress(idx_bytes(VALUES)) if ending else idx_bytes(VALUES)
    path = tmp_path / f"numbers{ending}"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = fault_of(lambda: read_idx(file_in(tmp_path), (3, 3)))
        assert found.startswith(f"task 'mine': {path} ")
        assert found.endswith("; it should be three numbers. Get it from the shelf")


def test_a_compressed_file_with_a_changed_byte_is_named_or_read_as_it_was(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(VALUES))
    refused = 0
    for place in range(len(whole)):
        (tmp_path / "numbers.gz").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert read_idx(file_in(tmp_path), (3, 3)).tolist() == VALUES.tolist()  # the time, the system in the header
        except TaskError as error:
            assert str(error).startswith(f"task 'mine': {tmp_path / 'numbers.gz'} ")  # noqa: PT017 - either is right
            refused += 1
    assert refused > len(whole) - 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with the bytes of nothing, expected 00000803"),
        (b"PK\x03\x04 an archive", "starts with the bytes 504b0304, expected 00000803"),
        (idx_bytes(np.arange(5)), "starts with the bytes 00000801, expected 00000803"),
        (idx_bytes(VALUES)[:15], "has 15 bytes, expected a header of 16"),
        (idx_bytes(VALUES)[:20], "has 20 bytes, expected 34"),
        (idx_bytes(VALUES) + b"x", "has more than 34 bytes, expected 34"),
        (
            idx_bytes(np.zeros((2, 3, 4))),
            f"has the shape 2 x 3 x 4, expected samples x 3 x 3 with 1..{SAMPLES_MAX:,} samples",
        ),
        (
            idx_bytes(np.zeros((0, 3, 3))),
            f"has the shape 0 x 3 x 3, expected samples x 3 x 3 with 1..{SAMPLES_MAX:,} samples",
        ),
        (
            b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 3, 3),
            f"has the shape 4294967295 x 3 x 3, expected samples x 3 x 3 with 1..{SAMPLES_MAX:,} samples",
        ),
    ],
)
def test_what_is_wrong_with_an_idx_file_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(content)
    found = fault_of(lambda: read_idx(file_in(tmp_path), (3, 3)))
    assert found == f"task 'mine': {path} {message}; it should be three numbers. Get it from the shelf"


# --- CIFAR-100 ----------------------------------------------------------------------------------------------------------


def test_cifar_is_read_colour_by_colour_with_its_fine_labels(tmp_path: Path) -> None:
    records = cifar_files(tmp_path)["train.bin"]
    task = cifar100_task(tmp_path, 12, 5)
    minibatch = task.minibatch(np.arange(12))
    assert minibatch.inputs.reshape(12, -1).tolist() == records[:, 2:].tolist()
    assert minibatch.inputs[4, 2, 31, 30] == records[4, 2 + 2 * 1_024 + 31 * 32 + 30]
    assert minibatch.labels.tolist() == task.sample_labels.tolist() == records[:, 1].tolist()


def test_a_cut_off_or_too_long_cifar_file_is_named(tmp_path: Path) -> None:
    cifar_files(tmp_path, train=2, test=1)
    path = tmp_path / "train.bin"
    whole = path.read_bytes()
    ends = (0, 1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, len(whole) - 1, len(whole) + 1)
    for size in ends:
        path.write_bytes((whole + b"x")[:size])
        bytes_found = f"{size:,} bytes" if size < len(whole) else "more than 6,148 bytes"
        found = fault_of(lambda: cifar100_task(tmp_path, 2, 1))
        expected = "expected 6,148; it should be 2 records of 3,074 bytes (CIFAR-100, binary version). Get it from https://"
        assert found.startswith(f"task 'cifar100': {path} has {bytes_found}, {expected}")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (RECORD_BYTES * 3, 20, "has the coarse label 20 in record 3, expected 0..19"),
        (RECORD_BYTES * 4 + 1, 100, "has the fine label 100 in record 4, expected 0..99"),
    ],
)
def test_a_cifar_label_out_of_range_is_named(tmp_path: Path, place: int, value: int, message: str) -> None:
    cifar_files(tmp_path)
    path = tmp_path / "test.bin"
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)
    assert fault_of(lambda: cifar100_task(tmp_path, 12, 5)).startswith(f"task 'cifar100': {path} {message};")


# --- the files' place ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named_with_its_place_format_and_source(tmp_path: Path) -> None:
    assert fault_of(lambda: file_in(tmp_path).read(1)) == (
        f"task 'mine': there is no file numbers or numbers.gz in {tmp_path}; it should be three numbers. Get it from the shelf"
    )


def test_what_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "numbers").mkdir()
    assert fault_of(lambda: file_in(tmp_path).read(1)).startswith(
        f"task 'mine': {tmp_path / 'numbers'} cannot be read: Is a directory; it should be three numbers."
    )


def test_the_folder_is_data_here_unless_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for value in ("/elsewhere", ""):
        monkeypatch.setenv(FOLDER_VARIABLE, value)
        found.append(data_folder())
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert [*found, data_folder()] == [Path("/elsewhere"), Path("data"), Path("data")]


@pytest.mark.parametrize("entry", FROM_FILES, ids=lambda entry: entry.name)
def test_a_built_in_task_whose_files_are_absent_says_which(
    entry: BuiltInTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    found = fault_of(lambda: load_task(entry.name))
    assert found.startswith(f"task '{entry.name}': there is no file ")
    assert str(tmp_path) in found


@pytest.mark.parametrize("entry", FROM_FILES, ids=lambda entry: entry.name)
def test_with_its_files_a_built_in_task_is_what_the_catalogue_says(
    entry: BuiltInTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emnist_files(tmp_path, "balanced", 0, 47)
    emnist_files(tmp_path, "letters", 1, 26, ending=".gz")
    emnist_files(tmp_path, "digits", 0, 10)
    cifar_files(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr("learning.tasks.cifar.TRAIN_SAMPLES", 12)
    monkeypatch.setattr("learning.tasks.cifar.TEST_SAMPLES", 5)
    task = load_task(entry.name)
    check_task(task)
    check_gradient(checked_differentiable(differentiable(task)))
    assert (task.name, sum(block.size for block in task.layout)) == (entry.name, entry.parameters)
    assert len(FROM_FILES) == 4


def test_pictures_of_bytes_have_the_gradient_of_their_fitness(tmp_path: Path) -> None:
    """As far as a difference of 1e-4 between two losses of about 4 shows it; that varies with the threads of the library."""
    cifar_files(tmp_path)
    emnist_files(tmp_path, "balanced", 0, 47)
    rows = np.arange(12)
    for task in (cifar100_task(tmp_path, 12, 5), emnist_task(BALANCED, tmp_path)):
        parameters = first_weights(stream_key(b"test"), task.layout)
        gradient = task.gradient(parameters, task.minibatch(rows))
        step = np.float32(2.0**-20) * np.sign(gradient)
        before, after = parameters - step, parameters + step
        measured = task.fitness(before, rows) - task.fitness(after, rows)
        assert measured == pytest.approx((after.astype(np.float64) - before) @ gradient.astype(np.float64), rel=4e-3)


# --- pictures -----------------------------------------------------------------------------------------------------------


def test_brightness_is_exact_for_every_byte_in_every_precision() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    expected = [value / 256 - 0.5 for value in range(256)]
    single, double = Brightness(black=-0.5)(levels), Brightness(black=-0.5).double()(levels)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert single.tolist() == double.tolist() == expected


def test_a_large_test_set_is_measured_on_a_part_of_every_region() -> None:
    labels = np.repeat(np.arange(10), 1_000)
    chosen = subset_for_tests(Samples(labels[:, None], labels))
    assert len(chosen) == TEST_SAMPLES_MAX
    assert np.bincount(chosen.labels).min() > 150
    few = Samples(labels[:50, None], labels[:50])
    assert subset_for_tests(few).labels.tolist() == few.labels.tolist()

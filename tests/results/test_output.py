"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest

from ropeleak import RopeleakError
from ropeleak.output import atomic, check_writable


def test_the_file_appears_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def half() -> None:
        with atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        half()
    assert os.listdir(tmp_path) == []


def test_permissions_are_those_of_any_file(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "path"
    plain.write_text("")
    with atomic(path):
        pass
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    with atomic(path):
        pass
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with atomic(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_bad_destinations_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path, words in (
        (tmp_path, "folder"), (tmp_path / "no" / "a", "no folder"), (file / "a", "no folder"),
        ("/dev/null", "regular file"), (tmp_path / ("x" * 300), "too long"), ("a\0b", "null"),
    ):  # fmt: skip
        with pytest.raises(RopeleakError, match=words) as caught:
            check_writable(path)
        assert "\n" not in str(caught.value)

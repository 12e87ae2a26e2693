from pathlib import Path

from click.testing import CliRunner

from node.cli import main
from node.storage.identity import load_identity


def test_keygen_makes_a_key_and_prints_its_peer_id(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    result = CliRunner().invoke(main, ["keygen", str(path)])
    assert (result.exit_code, result.stdout) == (0, f"{load_identity(path).peer_id.hex()}\n")


def test_keygen_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("precious")
    result = CliRunner().invoke(main, ["keygen", str(path)])
    told = f"error: {path} is there already, and is never overwritten\nfix: choose another path, or move it away\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)
    assert path.read_text() == "precious"


def test_keygen_makes_the_folder_of_a_peer_to_be(tmp_path: Path) -> None:
    path = tmp_path / "my-peer" / "identity.pem"
    assert CliRunner().invoke(main, ["keygen", str(path)]).exit_code == 0
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_identity(path)


def test_keygen_tells_that_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["keygen", str(tmp_path / "file" / "key.pem")])
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {tmp_path / 'file'} is a file, not a folder\nfix: choose another folder\n",
    )

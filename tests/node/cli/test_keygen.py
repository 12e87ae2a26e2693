from pathlib import Path

from click.testing import CliRunner

from node.cli import main
from node.identity import load_identity


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


def test_keygen_tells_that_a_folder_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "key.pem"
    result = CliRunner().invoke(main, ["keygen", str(path)])
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: cannot write the key {path}: no such file or folder\nfix: check the path\n",
    )

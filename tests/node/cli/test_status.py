import socket
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from node.api.status import LearnerTime, MemberStatus, NodeStatus, OrderStatus, PeerLink, ProcessorTime
from node.cli import main
from node.common.address import Address
from node.storage.api_address import API_FILE_NAME, ApiFile, write_api_file
from node.storage.folder import NodeFolder
from tests.node.cli.local_api import EXAMPLE_PEER, local_api
from tests.node.example_network import example_rules

STATUS = NodeStatus(
    version="0.1.0",
    network_id="c4" * 32,
    peer_id="ab" * 32,
    network_name="lab",
    task="digits",
    height=1423,
    head="cd" * 32,
    final_height=1407,
    finality_depth=16,
    fitness=-0.4321,
    metrics={"test_accuracy": 0.912},
    peers=(PeerLink("12" * 32, "10.0.0.5:7600", True), PeerLink("34" * 32, "10.0.0.6:7600", False)),
    blocks_led=400,
    candidates_per_second=13_400.0,
    loop_lag_p99_ms=3.21,
    last_error="no answer from 10.0.0.7:7600",
    notes=("[first] note", "second note"),
    learner_minute=LearnerTime(0.42, 0.25, 0.125, 0.58),
    processor=ProcessorTime(3.0, 0.5, 9.0),
)
ANSWER = msgspec.json.encode(STATUS)


def run(*arguments: str | Path | Address) -> Result:
    return CliRunner().invoke(main, ["status", *map(str, arguments)], terminal_width=80)


def test_a_person_sees_how_figures_have_changed_since_the_peer_started(tmp_path: Path) -> None:
    curves = {"fitness": (-3.0, -2.0, -0.4321), "test_accuracy": (0.1, 0.9, 0.5)}
    answer = msgspec.json.encode(msgspec.structs.replace(STATUS, curves=curves))
    with local_api({"/v1/status": (200, answer, len(answer))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        lines = [line.rstrip() for line in run("--data-dir", tmp_path).stdout.splitlines()]
    assert "fitness        -0.432100  ▁▄█" in lines
    assert "test accuracy  91.2 %     ▁█▅" in lines


def test_a_person_sees_height_model_peers_and_notes(tmp_path: Path) -> None:
    with local_api({"/v1/status": (200, ANSWER, len(ANSWER))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run("--data-dir", tmp_path)
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    for expected in (
        "height         1,423",
        "final          height 1,407; the 16 blocks above may still be undone",
        "fitness        -0.432100",
        "test accuracy  91.2 %",
        "blocks led     400  (contested: 0)",
        "candidates/s   13,400",
        "learner time   busy 42.0 % (ranking 25.0 %, scoring 12.5 %), waiting 58.0 %",
        "ordering       25.0 % of the peer's processor time (store 0.5 s of 3.0 s)",
        "loop lag       3.2 ms (99th percentile)",
        "memory         -",
        "2 connected peers",
        "  12121212  10.0.0.5:7600  (we dialled)",
        "  34343434  10.0.0.6:7600  (it dialled)",
        "last error: no answer from 10.0.0.7:7600",
        "  [first] note",
        "  second note",
    ):
        assert expected in lines


def test_json_is_the_peer_s_answer_as_it_is() -> None:
    with local_api({"/v1/status": (200, ANSWER, len(ANSWER))}) as api:
        result = run("--api", api, "--json")
    assert (result.exit_code, result.stdout) == (0, ANSWER.decode() + "\n")


def test_a_peer_that_has_just_started_is_shown_too() -> None:
    answer = msgspec.json.encode(NodeStatus("0.1.0", "c4" * 32, "ab" * 32))
    with local_api({"/v1/status": (200, answer, len(answer))}) as api:
        result = run("--api", api)
    assert result.exit_code == 0
    assert "0 connected peers" in result.stdout


def test_no_peer_in_the_folder_is_exit_code_3(tmp_path: Path) -> None:
    NodeFolder.create(tmp_path / "my peer", example_rules())
    result = run("--data-dir", tmp_path / "my peer")
    fix = f".venv/bin/python run_node.py start --data-dir '{tmp_path}/my peer'"
    told = f"error: no peer runs in {tmp_path / 'my peer'}\nfix: {fix}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", told)


def test_where_no_peer_could_be_started_none_is_said_to_be(tmp_path: Path) -> None:
    missing = run("--data-dir", tmp_path / "pear")
    fix = f"check the path, or make a new peer there: .venv/bin/python run_node.py init {tmp_path / 'pear'}"
    assert (missing.exit_code, missing.stderr) == (3, f"error: there is no folder {tmp_path / 'pear'}\nfix: {fix}\n")
    NodeFolder.create(tmp_path / "net" / "member-0", example_rules())
    above = run("--data-dir", tmp_path / "net")
    assert (above.exit_code, above.stderr) == (
        3,
        f"error: {tmp_path / 'net'} is not a node's folder, but holds some: member-0\n"
        f"fix: name one of them: --data-dir {tmp_path / 'net' / 'member-0'}\n",
    )


def test_a_peer_that_was_killed_is_exit_code_3(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        write_api_file(tmp_path, Address("127.0.0.1", unused.getsockname()[1]), EXAMPLE_PEER)
        result = run("--data-dir", tmp_path)
    assert result.exit_code == 3
    assert "error: no peer answers at 127.0.0.1:" in result.stderr
    assert "connection refused" in result.stderr


def test_a_killed_peer_is_not_mistaken_for_whoever_has_its_port_now(tmp_path: Path) -> None:
    killed = "cd" * 32
    with local_api({"/v1/status": (200, ANSWER, len(ANSWER))}) as api:
        write_api_file(tmp_path, api, killed)
        result = run("--data-dir", tmp_path)
    told = f"error: peer {killed[:8]} was killed: peer {EXAMPLE_PEER[:8]} answers at {api}, where it listened\n"
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", f"{told}fix: start the peer again\n")


def test_a_peer_whose_process_is_gone_is_not_asked_at_all(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    content = msgspec.json.encode(ApiFile("127.0.0.1", 1, EXAMPLE_PEER, ended.pid))
    (tmp_path / API_FILE_NAME).write_bytes(content)
    result = run("--data-dir", tmp_path)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: no peer runs in {tmp_path}: its last one (pid {ended.pid}) was killed\n")


@pytest.mark.parametrize("arguments", [[], ["--data-dir", "x", "--api", "127.0.0.1:1"]])
def test_the_peer_is_named_in_one_way(arguments: list[str]) -> None:
    result = run(*arguments)
    told = "error: give either --data-dir DIR or --api HOST:PORT\nfix: see .venv/bin/python run_node.py status --help\n"
    assert (result.exit_code, result.stderr) == (2, told)


def test_a_refusal_an_answer_cut_short_and_one_of_another_kind_are_told() -> None:
    answers = {"/v1/status": (503, b"not ready\n", 10)}
    with local_api(answers) as api:
        result = run("--api", api)
        told = f"error: the peer at {api} refuses /v1/status: 503 not ready\nfix: try again in a moment\n"
        assert (result.exit_code, result.stderr) == (1, told)
        answers["/v1/status"] = (404, b"peers meet at /peer\n", 20)
        told = (
            f"error: what answers at {api} is no peer's API: 404 peers meet at /peer\nfix: name the peer's folder, --data-dir"
        )
        assert run("--api", api).stderr.startswith(told)
        answers["/v1/status"] = (200, b"{}", 100)
        result = run("--api", api)
        assert (result.exit_code, result.stderr) == (
            2,
            f"error: the peer at {api} stopped in mid-answer: 2 of 100 bytes came\nfix: try again\n",
        )
        answers["/v1/status"] = (200, b"[]", 2)
        result = run("--api", api)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: the peer's answer is not a status: ")


def test_what_is_no_http_server_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=answer_once)
        thread.start()
        result = run("--api", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 2
    assert "is no peer's API: BadStatusLine" in result.stderr


def test_a_peer_that_is_no_member_is_shown_as_one_that_follows() -> None:
    members = (MemberStatus("12" * 32, 9, is_connected=True, rounds_silent=0),)
    order = OrderStatus(9, 0, 5, 0, 500, (), members)
    answer = msgspec.json.encode(msgspec.structs.replace(STATUS, order=order, behind_by=1))
    with local_api({"/v1/status": (200, answer, len(answer))}) as api:
        shown = " ".join(run("--api", api).stdout.split())
    assert f"{STATUS.peer_id} (no member: it follows only)" in shown
    assert "behind by 1 commit " in shown

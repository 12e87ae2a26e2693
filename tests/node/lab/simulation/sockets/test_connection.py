"""Connections in memory are TCP's: in order and whole, with flow control, and torn down at any byte."""

import asyncio
import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.lab.simulation.links import ConstantLatency, Lognormal, Uniform
from node.lab.simulation.sockets.connection import HIGH_WATER_BYTES
from node.lab.simulation.sockets.internet import CONNECT_SECONDS_MAX
from node.lab.simulation.sockets.pipe import SEGMENT_BYTES, WINDOW_BYTES
from tests.node.lab.simulation.sockets.machines import PORT, Ear, connected, start_on, virtual_loop

SIZES = st.lists(st.integers(0, 3 * SEGMENT_BYTES), max_size=8)


def content(seed: int, size: int) -> bytes:
    return bytes((seed + place * place) % 251 for place in range(size))


@settings(max_examples=30, deadline=None)
@given(there=SIZES, back=SIZES, seed=st.integers(0, 99), uplink_kbit_s=st.sampled_from([0, 5_000]))
def test_bytes_arrive_in_order_and_whole_in_both_directions(there, back, seed: int, uplink_kbit_s: int) -> None:
    with virtual_loop(Lognormal(20, 1.0), uplink_kbit_s, seed) as loop:
        pair = connected(loop)
        for place in range(8):
            for ear, sizes in ((pair.dialler, there), (pair.listener, back)):
                if place < len(sizes):
                    ear.transport.write(content(place, sizes[place]))
            loop.run_for(0.003)
        pair.dialler.transport.write_eof()
        loop.run_for(600)
        assert pair.listener.heard == b"".join(content(place, size) for place, size in enumerate(there))
        assert pair.dialler.heard == b"".join(content(place, size) for place, size in enumerate(back))
        assert (pair.listener.has_ended, pair.listener.lost, pair.dialler.lost) == (True, [None], [None])


def test_a_message_takes_the_latency_of_its_way_and_the_time_of_its_bytes() -> None:
    with virtual_loop(ConstantLatency(10), uplink_kbit_s=800) as loop:
        pair = connected(loop)
        pair.dialler.transport.write(bytes(1_000))
        loop.run_for(0.019)
        assert len(pair.listener.heard) == 0
        loop.run_for(0.002)
        assert len(pair.listener.heard) == 1_000, "10 ms to leave at 100 kB/s, 10 ms under way"


@settings(max_examples=20, deadline=None)
@given(reads=st.lists(st.booleans(), min_size=1, max_size=20))
def test_no_more_is_under_way_than_a_window_and_a_writer_is_told_to_wait(reads: list[bool]) -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        written = 0
        for does_read in [*reads, *[True] * 10]:
            transport = pair.listener.transport
            transport.resume_reading() if does_read else transport.pause_reading()
            while pair.dialler.may_write:
                written += SEGMENT_BYTES
                pair.dialler.transport.write(bytes(SEGMENT_BYTES))
            assert pair.dialler.transport.get_write_buffer_size() <= HIGH_WATER_BYTES + SEGMENT_BYTES
            loop.run_for(0.1)
            assert written - len(pair.listener.heard) <= WINDOW_BYTES + HIGH_WATER_BYTES + SEGMENT_BYTES
        loop.run_for(10)
        assert len(pair.listener.heard) == written


@settings(max_examples=30, deadline=None)
@given(after_ms=st.integers(0, 80), seed=st.integers(0, 1_000))
def test_a_reset_leaves_a_beginning_of_what_was_sent_and_tells_both(after_ms: int, seed: int) -> None:
    with virtual_loop(Uniform(5, 60), seed=seed) as loop:
        pair = connected(loop)
        sent = content(seed, 2 * WINDOW_BYTES)
        pair.dialler.transport.write(sent)
        loop.run_for(after_ms / 1000)
        loop.internet.reset(0, 1)
        loop.run_for(1)
        assert sent.startswith(bytes(pair.listener.heard))
        assert [type(error) for ear in (pair.dialler, pair.listener) for error in ear.lost] == [ConnectionResetError] * 2
        assert loop.internet.connections_lost == 1


def test_a_reset_cuts_at_any_byte() -> None:
    lengths = set()
    for seed in range(20):
        with virtual_loop(seed=seed) as loop:
            pair = connected(loop)
            pair.dialler.transport.write(bytes(100))
            loop.internet.reset(1, 0)
            lengths.add(len(pair.listener.heard))
    assert len(lengths) > 10
    assert max(lengths) <= 100


def test_what_is_cut_waits_and_arrives_when_it_heals_and_the_other_direction_works() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        loop.internet.cut([(0, 1)])
        pair.dialler.transport.write(b"lost?")
        pair.listener.transport.write(b"heard")
        loop.run_for(60)
        assert (pair.listener.heard, pair.dialler.heard) == (b"", b"heard")
        loop.internet.heal()
        assert pair.listener.heard == b"lost?"


def test_a_process_that_ends_closes_what_it_held_and_what_it_sent_arrives() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        pair.dialler.transport.write(b"last words")
        pair.hosts[0].shut_down()
        loop.run_for(1)
        assert (pair.listener.heard, pair.listener.has_ended) == (b"last words", True)
        assert (pair.dialler.lost, pair.listener.lost) == ([None], [None])


def test_who_closes_with_unread_bytes_resets_the_connection() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        pair.listener.transport.pause_reading()
        pair.dialler.transport.write(b"nobody reads this")
        loop.run_for(1)
        pair.listener.transport.close()
        loop.run_for(1)
        assert [type(error) for error in pair.dialler.lost] == [ConnectionResetError]


def test_who_writes_to_a_closed_connection_is_told_so() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        pair.dialler.eof_received = lambda: True  # it keeps its half open
        pair.listener.transport.close()
        loop.run_for(1)
        assert pair.dialler.lost == []
        pair.dialler.transport.write(b"hello?")
        loop.run_for(1)
        assert [type(error) for error in pair.dialler.lost] == [ConnectionResetError]


def test_a_closing_connection_sends_first_what_waits() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        pair.dialler.transport.write(bytes(4 * WINDOW_BYTES))
        pair.dialler.transport.close()
        loop.run_for(5)
        assert (len(pair.listener.heard), pair.dialler.lost) == (4 * WINDOW_BYTES, [None])


def test_an_aborted_connection_forgets_it() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        pair.dialler.transport.write(bytes(4 * WINDOW_BYTES))
        pair.dialler.transport.abort()
        loop.run_for(5)
        assert len(pair.listener.heard) == WINDOW_BYTES
        assert [type(error) for error in pair.listener.lost] == [ConnectionResetError]


# --- dialling -------------------------------------------------------------------------------------------------------


def dial(loop, host, ip: str):
    return start_on(loop, host, loop.create_connection(Ear, ip, PORT))


def test_where_nobody_listens_a_dial_is_refused_after_a_round_trip() -> None:
    with virtual_loop() as loop:
        here, there = loop.internet.host(0), loop.internet.host(1)
        dialling = dial(loop, here, there.ip)
        loop.run_for(0.019)
        assert not dialling.done()
        loop.run_for(0.002)
        assert isinstance(dialling.exception(), ConnectionRefusedError)


def test_where_no_machine_is_a_dial_hangs_until_the_system_gives_up() -> None:
    with virtual_loop() as loop:
        dialling = dial(loop, loop.internet.host(0), "198.51.100.7")
        loop.run_for(CONNECT_SECONDS_MAX - 1)
        assert not dialling.done()
        loop.run_for(2)
        assert dialling.exception().errno == errno.ETIMEDOUT


def test_a_dial_over_a_cut_waits_for_it_to_heal() -> None:
    with virtual_loop() as loop:
        loop.internet.split([[0], [1]])
        here, there = loop.internet.host(0), loop.internet.host(1)
        there.listen(there.ip, PORT, Ear)
        dialling = dial(loop, here, there.ip)
        loop.run_for(30)
        assert not dialling.done()
        loop.internet.heal()
        loop.run_for(0.03)
        assert dialling.result()[0].get_extra_info("peername") == (there.ip, PORT)


def test_a_dial_that_is_given_up_meanwhile_is_torn_down_at_the_other_side() -> None:
    with virtual_loop() as loop:
        here, there = loop.internet.host(0), loop.internet.host(1)
        ear = Ear()
        there.listen(there.ip, PORT, lambda: ear)
        dialling = dial(loop, here, there.ip)
        loop.run_for(0.015)
        dialling.cancel()
        loop.run_for(1)
        assert [type(error) for error in ear.lost] == [ConnectionResetError]


def test_a_port_is_taken_once_and_an_address_belongs_to_its_machine() -> None:
    with virtual_loop() as loop:
        host = loop.internet.host(0)
        listener = host.listen(host.ip, 0, Ear)
        with pytest.raises(OSError, match="in use") as taken:
            host.listen(host.ip, listener.getsockname()[1], Ear)
        assert taken.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="no address of this machine"):
            host.listen("10.0.0.99", PORT, Ear)
        listener.close()
        assert host.listen(host.ip, listener.getsockname()[1], Ear).getsockname() == listener.getsockname()


def test_each_side_sees_the_other_s_address() -> None:
    with virtual_loop() as loop:
        pair = connected(loop)
        names = [
            ear.transport.get_extra_info(name) for ear in (pair.dialler, pair.listener) for name in ("sockname", "peername")
        ]
        (own, other, *mirrored) = names
        assert (own[0], other, mirrored) == ("10.0.0.1", ("10.0.0.2", PORT), [other, own])


def test_streams_of_asyncio_run_on_it() -> None:
    async def answer(reader, writer) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def serve() -> None:
        await asyncio.start_server(answer, "10.0.0.2", PORT)

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("10.0.0.2", PORT)
        writer.write(b"hello\n")
        heard = await reader.read()
        writer.close()
        await writer.wait_closed()
        return heard

    with virtual_loop() as loop:
        here, there = loop.internet.host(0), loop.internet.host(1)
        start_on(loop, there, serve())
        loop.run_for(0.001)
        asking = start_on(loop, here, ask())
        loop.run_for(1)
        assert asking.result() == b"HELLO\n"

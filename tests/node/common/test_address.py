from hypothesis import given
from hypothesis import strategies as st

from node.common.address import Address, parse_address

hosts = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.sampled_from(["localhost", "a.example.org"]))


@given(host=hosts, port=st.integers(min_value=1, max_value=65_535))
def test_an_address_reads_back_from_its_text(host: str, port: int) -> None:
    assert parse_address(str(Address(host, port))) == Address(host, port)

import pytest
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from access.addresses import caller_at, client_address, read_networks
from access.callers import address_of, address_of_socket
from access.models import AuditEntry
from tests import people

TRUSTED = read_networks(["10.0.0.0/8", "::1"])
CLIENTS = st.one_of(
    st.ip_addresses(v=4).filter(lambda address: address.packed[0] != 10),
    st.ip_addresses(v=6, network="2001:db8::/32"),
)
PROXIES = st.ip_addresses(v=4, network="10.0.0.0/8")


@given(
    forged=st.lists(st.one_of(st.text(max_size=20), st.ip_addresses().map(str)), max_size=4),
    client=CLIENTS,
    proxies=st.lists(PROXIES, min_size=1, max_size=4),
)
def test_whatever_a_client_writes_its_address_is_what_the_first_proxy_saw(forged, client, proxies):
    *before, peer = proxies
    forwarded_for = ", ".join([*forged, str(client), *map(str, before)])
    assert client_address(str(peer), forwarded_for, trusted=TRUSTED) == str(client)


@given(peer=CLIENTS, forged=st.text(max_size=60))
def test_who_is_no_trusted_proxy_is_not_believed(peer, forged):
    assert client_address(str(peer), forged, trusted=TRUSTED) == str(peer)
    assert client_address("10.0.0.1", forged, trusted=()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, nonsense, 10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.0.0.1", '"[2001:db8::1]"', "2001:db8::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("::1", "2001:DB8:0::1", "2001:db8::1"),
        ("", "1.2.3.4", ""),
        ("x" * 100, "1.2.3.4", "x" * 64),
    ],
)
def test_addresses_are_read_as_proxies_write_them(peer, forwarded_for, address):
    assert client_address(peer, forwarded_for, trusted=TRUSTED) == address


def test_a_network_of_ipv6_is_one_caller_and_an_address_of_ipv4_is_one():
    assert caller_at("2001:db8:1:2:3::4") == caller_at("2001:db8:1:2::9") != caller_at("2001:db8:1:3::9")
    assert caller_at("1.2.3.4") == "1.2.3.4"
    assert caller_at("") == ""


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match=text.partition("/")[0]):
        read_networks([text])


@override_settings(HETUFLOW_TRUSTED_PROXIES=TRUSTED)
def test_requests_and_sockets_are_read_alike():
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6, 1.2.3.4")
    headers = [(b"x-forwarded-for", b"6.6.6.6"), (b"host", b"h"), (b"x-forwarded-for", b"1.2.3.4")]
    assert address_of(request) == "1.2.3.4"
    assert address_of_socket({"client": ("10.0.0.1", 1), "headers": headers}) == "1.2.3.4"
    assert address_of_socket({"client": ("1.1.1.1", 1), "headers": headers}) == "1.1.1.1"
    assert address_of_socket({"headers": []}) == ""


@pytest.mark.django_db
@pytest.mark.parametrize(("trusted", "address"), [([], "127.0.0.1"), (["127.0.0.1"], "1.2.3.4")])
def test_the_audit_log_tells_the_address_that_can_be_believed(settings, trusted, address):
    settings.HETUFLOW_TRUSTED_PROXIES = read_networks(trusted)
    client = people.session_of(people.person(superuser=True))
    body = {"name": "n", "config": {"cmd": "bash"}}
    client.post("/api/v1/jobs", body, headers={"X-Forwarded-For": "1.2.3.4"})
    assert AuditEntry.objects.get(action="job.create").address == address

"""URLs of servers behind Sentinels: checked, read, and as kombu wants them."""

import pytest

from dispatcher import urls
from dispatcher.config.sentinel_urls import kombu_url, parse_sentinel_url, transport_options

URL = "sentinel://:p%40ss@a:26379;b;[::1]:5/3?master_name=mymaster&sentinel_password=other"


def test_a_url_names_sentinels_server_and_secrets():
    urls.check_broker_url(URL)
    place = parse_sentinel_url(URL)
    assert place.sentinels == (("a", 26379), ("b", 26379), ("::1", 5))
    assert (place.master_name, place.database, place.password) == ("mymaster", 3, "p@ss")
    assert place.sentinel_password == "other"
    assert "p@ss" not in repr(place)
    assert "other" not in repr(place)
    assert urls.has_password(URL)
    assert not urls.has_password("sentinel://a;b/0?master_name=m")


def test_kombu_gets_a_whole_url_for_each_sentinel_and_the_name_beside():
    assert kombu_url(URL) == (
        "sentinel://:p%40ss@a:26379/3;sentinel://:p%40ss@b:26379/3;sentinel://:p%40ss@[::1]:5/3"
    )
    options = transport_options(URL, None)
    assert options["master_name"] == "mymaster"
    assert options["sentinel_kwargs"]["password"] == "other"
    assert kombu_url("redis://h/0") == "redis://h/0"
    assert transport_options("redis://h/0", None) == {}


def test_with_tls_the_sentinels_are_connected_to_as_the_server_is():
    url = "sentinels://:p@a;b/0?master_name=m&ssl_ca_certs=/ca.pem"
    urls.check_broker_url(url)
    assert urls.has_password(url)
    assert parse_sentinel_url(url).sentinels == (("a", 26379), ("b", 26379))
    assert kombu_url(url) == "sentinel://:p@a:26379/0;sentinel://:p@b:26379/0"
    options = transport_options(url, {"ssl_ca_certs": "/ca.pem"})["sentinel_kwargs"]
    assert (options["ssl"], options["ssl_ca_certs"]) == (True, "/ca.pem")


def test_a_password_is_put_before_the_first_host():
    url = urls.with_password("sentinel://a;b/0?master_name=m", "p/w")
    assert url == "sentinel://:p%2Fw@a;b/0?master_name=m"
    urls.check_broker_url(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sentinel://a:26379/0", "needs the name"),
        ("sentinel://a:x/0?master_name=m", "port"),
        ("sentinel://a;;b/0?master_name=m", "name each Sentinel"),
        ("sentinel:///0?master_name=m", "name each Sentinel"),
        ("sentinel://a;:p@b/0?master_name=m", "before the first one only"),
        ("sentinel://a/x?master_name=m", "number of a database"),
        ("sentinel://a/0?master=m", "unknown option"),
        ("sentinel://a/0;b?master_name=m", "name each Sentinel"),
        ("sentinel://a/0?master_name=m&ssl_ca_certs=/ca.pem", "unknown option"),
        ("sentinels://a/0?master_name=m&ssl_cert_reqs=no", "ssl_cert_reqs"),
        ("sentinels://a/0", "needs the name"),
    ],
)
def test_a_mistake_in_it_is_named(url, says):
    with pytest.raises(ValueError, match=says):
        urls.check_broker_url(url)

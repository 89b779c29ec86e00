"""Which IANA name is suggested for what people write in place of one."""

import pytest

from dispatcher.cli.parsing import parse_named_zone
from dispatcher.errors import UsageProblem
from dispatcher.providers.shared.scheduling import _check_zone
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.windows.moments import MomentError, _split_zone
from dispatcher.windows.zone_guesses import guess_zones
from dispatcher.windows.zone_names import parse_zone, zone_names


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        # A city, in any spelling, with no region or a wrong one.
        ("Berlin", "Europe/Berlin"),
        (" berlin ", "Europe/Berlin"),
        ("Asia/Berlin", "Europe/Berlin"),
        ("Europe\\berlin", "Europe/Berlin"),
        ("europe berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("new-york", "America/New_York"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Kolkata", "Asia/Kolkata"),
        ("Istanbul", "Europe/Istanbul"),
        ("Calcutta", "Asia/Calcutta"),
        ("Knox", "America/Indiana/Knox"),
        # An abbreviation, with all that it stands for.
        ("IST", "Europe/Dublin, Asia/Jerusalem or Asia/Kolkata"),
        ("PDT", "America/Los_Angeles"),
        ("CDT", "America/Chicago or America/Havana"),
        ("BST", "Europe/London"),
        ("CEST", "Europe/Paris"),
        ("JST", "Asia/Tokyo"),
        # A country.
        ("India", "Asia/Kolkata"),
        ("IN", "Asia/Kolkata"),
        ("germany", "Europe/Berlin"),
        ("UK", "Europe/London"),
        ("Nepal", "Asia/Kathmandu"),
        # A misspelt name or city.
        ("Asia/Calcuta", "Asia/Calcutta"),
        (" europe/berln ", "Europe/Berlin"),
        ("Berln", "Europe/Berlin"),
        ("kolkatta", "Asia/Kolkata"),
        # Nothing at all.
        ("?", None),
        ("", None),
        ("Nowhere", None),
        ("GMT+25", None),
        ("x" * 10_000, None),
    ],
)
def test_a_city_a_country_an_abbreviation_or_a_misspelt_name_gives_a_zone(text, guess):
    assert guess_zones(text) == guess


def test_a_country_with_many_zones_has_each_once_and_is_cut():
    assert guess_zones("Russia").startswith("one of Europe/Kaliningrad, ")
    assert guess_zones("Russia").endswith(", …")
    in_america = guess_zones("United States")
    assert "America/New_York" in in_america
    assert "America/Los_Angeles" in in_america
    assert "America/Detroit" not in in_america


def test_every_place_gives_names_that_can_be_written():
    for place in {name.rpartition("/")[2] for name in zone_names() if not name.startswith("Etc/")}:
        guessed = guess_zones(place)
        assert [parse_zone(one) for one in guessed.replace(" or ", ", ").split(", ")], place


def test_everybody_who_reads_a_zone_suggests_one():
    with pytest.raises(UsageProblem) as refused:
        parse_named_zone("Berlin")
    assert refused.value.hint.startswith("did you mean Europe/Berlin? write an IANA name")
    with pytest.raises(MomentError) as not_read:
        _split_zone("tomorrow 09:00 CST")
    assert "America/Chicago" in str(not_read.value)
    with pytest.raises(ValueError, match=r"did you mean Europe/Berlin\?"):
        ProviderSettings._check_timezone("Berlin")
    with pytest.raises(ValueError, match=r"did you mean Asia/Kolkata\?"):
        _check_zone("Kolkata")
    with pytest.raises(ValueError, match=r"Asia/Kolkata$"):
        ProviderSettings._check_timezone("Nowhere")

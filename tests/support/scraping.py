"""A configuration and a collector over a test's store, and what a scrape shows."""

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from dispatcher.config.settings import load_settings
from dispatcher.monitoring.exporter import make_registry, render_metrics

CONFIG = """
[notify]
command = ["page"]
balance_below = 100
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v1"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
messages_per_second = 50
daily_limit = 1000
"""


def settings_in(folder, more=""):
    """The settings of a file in `folder`, with one account and these further lines."""
    path = folder / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(more + CONFIG, encoding="utf-8")
    return load_settings(path, {})


class Found(dict):
    """Values by name and label values, in any order: `found["recipients", "main", "pending"]`."""

    def __getitem__(self, key):
        return super().__getitem__((key[0], *sorted(key[1:])))


class Scraper:
    """Scrapes a store as Prometheus would."""

    def __init__(self, store, settings):
        self.registry = make_registry(store, settings)

    def text(self):
        return render_metrics(self.registry)

    def read(self):
        return Found(
            (
                (sample.name.removeprefix("dispatcher_"), *sorted(sample.labels.values())),
                sample.value,
            )
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
        )

    def names(self):
        """The names that a query may use."""
        return set(self.labels())

    def labels(self):
        """The labels of each sample, by the name that a query may use."""
        found = defaultdict(list)
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                found[sample.name].append(sample.labels)
        return found

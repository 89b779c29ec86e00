"""What a campaign will cost, by the prices in the configured store, which is read only."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from dispatcher.config.settings import load_store_settings
from dispatcher.errors import ConfigError
from dispatcher.recipients.preview import Preview
from dispatcher.rehearsal.settings import WithoutGaps
from dispatcher.store.engine import Store
from dispatcher.submission.cost_estimate import CostEstimate, estimate_cost


def estimate_real_cost(
    path: Path | None,
    environ: Mapping[str, str],
    account: str,
    preview: Preview,
) -> CostEstimate | None:
    """The cost by the prices of an account's earlier messages; None if no price is known.

    Also None where the store cannot be read, since a rehearsal needs none; none is created.
    """
    try:
        url = load_store_settings(path, WithoutGaps(environ)).url
    except ConfigError:
        return None
    with closing(Store(url)) as store:
        if store.is_sqlite and not Path(store.url.database or "").exists():
            return None
        return estimate_cost(store, account, preview)

"""What is in every name of a tensor of an adapter: whether there may be one is asked of every source."""

from __future__ import annotations

import re

from tui_params.core.source import Listing

MAY_BE_ADAPTER = re.compile(
    "lora|hada_w|lokr_w|vera_lambda|ia3_l|oft_|miss_block|bone_block|hra_u|hira_A|shira_weight|ln_tuning|prompt_emb"
)


def may_have_adapters(listing: Listing) -> bool:
    """False if no tensor is named as one of an adapter may be; what knows them all need not be imported then."""
    return any(MAY_BE_ADAPTER.search(info.name) for info in listing.tensors)

from __future__ import annotations

from tests.test_hygiene import python


def test_collection_goes_on_and_what_was_frozen_is_looked_at_again() -> None:
    script = """
import gc
from tui_params.core.collector import go_on_collecting, look_again
go_on_collecting()
found = [gc.get_freeze_count()]
gc.disable()
go_on_collecting()
found += [gc.get_freeze_count() > 1000, gc.isenabled()]
look_again(0)
found.append(gc.get_freeze_count())
gc.freeze()
theirs = gc.get_freeze_count()
made = [[] for _ in range(1000)]
gc.disable()
go_on_collecting()
found += [gc.get_freeze_count() <= theirs + 10, gc.isenabled()]
look_again(theirs)
found.append(gc.get_freeze_count() > 1000)
print(found)
"""
    assert python(script) == "[0, True, True, 0, True, True, True]\n"

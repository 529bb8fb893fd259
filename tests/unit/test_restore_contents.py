"""Who makes which entry of a dump."""

from __future__ import annotations

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.restore.contents import UnreadableContents, database_owner, entries, sort

# As pg_restore 15.20 lists it
LISTING = """;
; Archive created at 2026-11-26 16:17:49 UTC
;
3483; 1262 16385 DATABASE - shaka shaka
3484; 0 0 COMMENT - DATABASE shaka shaka
3485; 0 0 ACL - DATABASE shaka shaka
3486; 0 0 DATABASE PROPERTIES - shaka shaka
11; 2615 16549 SCHEMA - billing shaka
3487; 0 0 ACL - SCHEMA billing shaka
10; 2615 16431 SCHEMA - extensions shaka
6; 2615 2200 SCHEMA - public postgres
3501; 0 0 COMMENT - SCHEMA public postgres
2; 3079 16422 EXTENSION - moddatetime\x20
3488; 0 0 COMMENT - EXTENSION moddatetime\x20
309; 1255 16594 FUNCTION public f() shaka
310; 1255 16595 FUNCTION billing g() reporter
2149; 1417 16586 SERVER - elsewhere shaka
3493; 0 0 USER MAPPING - USER MAPPING shaka SERVER elsewhere shaka
3494; 0 0 USER MAPPING - USER MAPPING gone SERVER elsewhere shaka
222; 1259 16560 TABLE billing notes reporter
3498; 0 0 ACL - LARGE OBJECT 777 shaka
3471; 0 16560 TABLE DATA billing notes reporter
3467; 6104 16592 PUBLICATION - p shaka
3468; 6106 16593 PUBLICATION TABLE public p customers shaka
3469; 6104 16599 PUBLICATION - everything postgres
3466; 3466 16600 EVENT TRIGGER - watching postgres
3465; 0 0 COMMENT - EVENT TRIGGER watching postgres
2150; 826 16584 DEFAULT ACL billing DEFAULT PRIVILEGES FOR TABLES shaka
3472; 0 16580 MATERIALIZED VIEW DATA billing monthly shaka
"""


def numbers(lines: list[str]) -> list[int]:
    return [int(line.partition(";")[0]) for line in lines]


@pytest.mark.parametrize(
    ("elsewhere", "mapped"),
    [(False, [3493]), (True, [])],
)
def test_who_makes_what(elsewhere: bool, mapped: list[int]) -> None:
    found = sort(entries(LISTING), ["postgres"], ["reporter"], ["extensions"], elsewhere)
    assert numbers(found.restored) == [11, 309, 310, 2149, *mapped, 222, 3471, 3467, 3468, 3472]
    assert numbers(found.of_others) == [310, 222]
    gone = ["USER MAPPING USER MAPPING gone SERVER elsewhere shaka"]
    gone = (["USER MAPPING USER MAPPING shaka SERVER elsewhere shaka"] if elsewhere else []) + gone
    assert found.left_out == [*gone, "PUBLICATION everything postgres", "EVENT TRIGGER watching postgres", "COMMENT EVENT TRIGGER watching postgres"]


def test_the_owner_of_the_database() -> None:
    assert database_owner(entries(LISTING)) == "shaka"
    assert database_owner(entries("1; 1 1 TABLE public t x")) == ""


@pytest.mark.parametrize("listing", ["", "; only a comment\n", "pg_restore: error: input file does not appear to be a valid archive\n"])
def test_what_is_no_listing_is_refused(listing: str) -> None:
    with pytest.raises(UnreadableContents):
        entries(listing)

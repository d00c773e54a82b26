"""Count the published numbers again and write their table into docs/published.md: `make published`.

Needs transformers, and some minutes: the mean over COCO's images is a trace of every size.
"""

from __future__ import annotations

from pathlib import Path

from proscale_bench.bench.recount import recount
from proscale_bench.files import write_atomic
from proscale_bench.render import recounts as render
from proscale_bench.render.table import markdown_table, markdown_text
from proscale_bench.results.recounts import Recounted, recounts

PAGE = Path(__file__).with_name("published.md")
BEGIN, END = "<!-- make published -->\n", "<!-- end -->\n"


def written(page: str, found: list[Recounted]) -> str:
    """The page with the table of these between its marks."""
    head, _, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2]
    counted = sum(one.gflops is not None for one in found)
    lines = [
        f"{counted} of {len(found)} numbers are counted here.",
        "",
        *markdown_table(render.table(found), "lll"),
        "",
        *(f"{index}. {markdown_text(reason)}" for index, reason in enumerate(render.reasons(found), start=1)),
    ]
    return head + BEGIN + "\n".join(lines) + "\n" + END + tail


def main() -> None:
    found = []
    for one in recounts():
        found.append(recount(one))
        print(f"{one.id}: {found[-1].gflops}", flush=True)
    write_atomic(PAGE, written(PAGE.read_text("utf-8"), found))


if __name__ == "__main__":
    main()

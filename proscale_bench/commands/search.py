"""`proscale-bench schedules search`: the encoders that give the most for a cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from proscale_bench.commands.options import BackboneOptions, ExportOptions, MaybePath, MaybeStrs, flag, takes
from proscale_bench.errors import BenchError

if TYPE_CHECKING:
    from proscale_bench.analysis.search import Limits, SearchRequest

MaybeFloat = Optional[float]  # noqa: UP045
LIMITS, SEARCHED = "What it may cost", "What is searched"


class SearchOptions(BackboneOptions, ExportOptions):
    """The flags of `schedules search`."""

    saving: MaybeFloat = flag("--saving PCT", "Least saving of the whole model's FLOPs, in percent.", LIMITS)
    max_total_gflops: MaybeFloat = flag("--max-total-gflops G", "Limit of the whole model.", LIMITS)
    max_encoder_gflops: MaybeFloat = flag("--max-encoder-gflops G", "Limit of the encoder.", LIMITS)
    families: MaybeStrs = flag(
        "--families NAME", "Family of encoders, or several with commas. Repeat for more. [default: all]", SEARCHED
    )
    max_layers: int = flag("--max-layers N", "Largest number of token layers.", SEARCHED, default=9, min=1, max=40)
    size: str = flag(
        "--size SIZE", "Image size as in 800x1333, or coco-first100, or coco-val.", default="coco-first100"
    )
    rules: str = flag("--rules NAME", "Rule set of the count: fvcore, published or complete.", default="fvcore")
    rows: int = flag("--rows N", "Number of points of the frontier that are shown.", default=10, min=1)
    write: MaybePath = flag("--write DIR", "Folder for a schedule file of each shown row, ready to train.")

    def limits(self) -> Limits:
        """The limits, checked."""
        from proscale_bench.analysis.search import Limits

        return Limits(
            total_gflops=self.max_total_gflops, encoder_gflops=self.max_encoder_gflops, saving_pct=self.saving
        )

    def request(self) -> SearchRequest:
        """The request, checked as far as that needs no torch.

        Raises:
            BenchError: a flag has an unknown or impossible value.
        """
        from proscale_bench.analysis.search import SearchRequest
        from proscale_bench.cost.geometry import parse_size
        from proscale_bench.cost.rules import get_rules

        limits = self.limits()
        families = [name.strip() for given in self.families or () for name in given.split(",") if name.strip()]
        if self.families and not families:
            raise BenchError(f"--families {','.join(self.families)}: no family", "as in --families staged")
        (spec,) = self.specs_of(("baseline",), self.backbone)
        return SearchRequest(
            spec,
            parse_size(self.size),
            get_rules(self.rules),
            limits,
            tuple(dict.fromkeys(families)),
            self.max_layers,
        )


@takes(SearchOptions)
def search(options: SearchOptions) -> None:
    """Search all schedules and sibling encoders for those that give the most capacity for a cost.

    Example: proscale-bench schedules search --saving 30 --backbone swin_t
    """
    from proscale_bench.analysis.search import search as search_all
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render import search as render

    exports, request = options.exports(), options.request()
    found = search_all(request)
    rows = found.spread(options.rows)
    exports.write([row.row() for row in found.rows], lambda: render.markdown(found, rows))
    console = exports.console
    print_tables(console, [render.table(found, rows)], break_labels=True)
    print_lines(console, render.headlines(found), style="")
    print_lines(console, render.footer(found, len(rows)))

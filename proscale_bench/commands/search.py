"""`proscale-bench schedules search`: the encoders that give the most for a cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from proscale_bench.commands.options import (
    HOW,
    BackboneOptions,
    DeviceOptions,
    ExportOptions,
    MaybePath,
    MaybeStrs,
    flag,
    takes,
)
from proscale_bench.errors import BenchError, look_up

if TYPE_CHECKING:
    from proscale_bench.analysis.search import Limits, SearchRequest
    from proscale_bench.bench.search import TimedSearch

MaybeFloat = Optional[float]  # noqa: UP045
LIMITS, SEARCHED = "What it may cost", "What is searched"


class SearchOptions(BackboneOptions, DeviceOptions, ExportOptions):
    """The flags of `schedules search`."""

    saving: MaybeFloat = flag("--saving PCT", "Least saving of the whole model's FLOPs, in percent.", LIMITS)
    max_total_gflops: MaybeFloat = flag("--max-total-gflops G", "Limit of the whole model.", LIMITS)
    max_encoder_gflops: MaybeFloat = flag("--max-encoder-gflops G", "Limit of the encoder.", LIMITS)
    max_ms: MaybeFloat = flag("--max-ms MS", "Limit of one image's latency on this device, in milliseconds.", LIMITS)
    latency: bool = flag("--latency", "Predict latencies without a limit too, and measure the first row's.", LIMITS)
    families: MaybeStrs = flag(
        "--families NAME", "Family of encoders, or several with commas. Repeat for more. [default: all]", SEARCHED
    )
    max_layers: int = flag("--max-layers N", "Largest number of token layers.", SEARCHED, default=9, min=1, max=40)
    size: str = flag(
        "--size SIZE", "Image size as in 800x1333, or coco-first100, or coco-val.", default="coco-first100"
    )
    rules: str = flag("--rules NAME", "Rule set of the count: fvcore, published or complete.", default="fvcore")
    rows: int = flag("--rows N", "Number of points of the frontier that are shown.", default=10, min=1)
    max_seconds: float = flag(
        "--max-seconds S", "Time limit per profiled schedule, in seconds.", HOW, default=10.0, min=0.1
    )
    anew: bool = flag("--anew", "Profile again what an earlier search has kept.", HOW)
    write: MaybePath = flag("--write DIR", "Folder for a schedule file of each shown row, ready to train.")

    def limits(self) -> Limits:
        """The limits, checked."""
        from proscale_bench.analysis.search import Limits

        return Limits(
            total_gflops=self.max_total_gflops,
            encoder_gflops=self.max_encoder_gflops,
            saving_pct=self.saving,
            latency_ms=self.max_ms,
        )

    @property
    def timed(self) -> bool:
        """Latencies are asked for."""
        return self.latency or self.max_ms is not None

    def request(self) -> SearchRequest:
        """The request, checked as far as that needs no torch.

        Raises:
            BenchError: a flag has an unknown or impossible value.
        """
        from proscale_bench.analysis.search import SearchRequest
        from proscale_bench.commands.profile import DEFAULT_SIZES
        from proscale_bench.cost.geometry import COCO_SIZES, DEFAULT_SIZE, parse_size
        from proscale_bench.cost.rules import get_rules
        from proscale_bench.specs.candidates import FAMILIES

        if self.timed and (self.size or "") in COCO_SIZES:
            raise BenchError(f"--size {self.size}: a latency is of one size, and this is many", "as in --size 640x640")
        self.check()
        limits = self.limits()
        families = [name.strip() for given in self.families or () for name in given.split(",") if name.strip()]
        if self.families and not families:
            raise BenchError(f"--families {','.join(self.families)}: no family", "as in --families staged")
        for name in families:
            look_up(FAMILIES, name, "family")
        (spec,) = self.specs_of(("baseline",), self.backbone)
        default = DEFAULT_SIZES[self.chosen_device()] if self.timed and self.size is None else DEFAULT_SIZE
        return SearchRequest(
            spec,
            parse_size(self.size or default),
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
    from proscale_bench.analysis.search import search as search_on_paper
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render import search as render

    exports, request = options.exports(), options.request()
    timed = search_in_time(options, request) if options.timed else None
    found = timed.found if timed else search_on_paper(request)
    rows = found.spread(options.rows)
    exports.write([row.row() for row in found.rows], lambda: render.markdown(found, rows))
    console = exports.console
    print_tables(console, [render.table(found, rows)], break_labels=True)
    print_lines(console, render.headlines(found), style="")
    if timed:
        pick = timed.pick
        if pick is not None:
            print_lines(console, render.realised(found.pick, pick.saving, pick.baseline_ms), style="")
    print_lines(console, render.footer(found, len(rows)))
    if timed:
        print_lines(console, render.prediction(timed.model.error, timed.where, timed.others_cpu_pct))


def search_in_time(options: SearchOptions, request: SearchRequest) -> TimedSearch:
    """Search with milliseconds: a few models are profiled, or were. Loads torch."""
    from proscale_bench.commands.progress import progress_bar, uninterrupted

    with progress_bar("loading torch", by_clock=False) as bar:
        with uninterrupted():
            import torchvision  # noqa: F401

            from proscale_bench.bench.search import search_with_latency
            from proscale_bench.measure.latency import Limits as TimeLimits
            from proscale_bench.measure.profile import ProfileSettings

        def show(what: str, share: float | None) -> None:
            bar.show(what, share or 0, None if share is None else 1, line=lambda: what)

        settings = ProfileSettings(
            device=options.chosen_device(),
            sampling=options.sampling,
            threads=options.threads,
            limits=TimeLimits(options.max_seconds),
        )
        return search_with_latency(request, settings, show, options.anew)

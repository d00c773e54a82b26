"""`proscale-bench schedules search`: the encoders that give the most for a cost."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Literal

from proscale_bench.commands.options import (
    EXPORT,
    HOW,
    BackboneOptions,
    DeviceOptions,
    ExportOptions,
    MaybeFloat,
    MaybePath,
    MaybeStr,
    MaybeStrs,
    flag,
    takes,
)
from proscale_bench.errors import BenchError, look_up, one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proscale_bench.analysis.search import Found, SearchLimits, SearchRequest, SearchRow
    from proscale_bench.analysis.search_accuracy import Advice
    from proscale_bench.bench.search import TimedSearch
    from proscale_bench.results.record import Record

FigureFormat = Literal["svg", "png", "pdf"]
COMMAND = "schedules search"
LIMITS, SEARCHED, KNOWN = "What it may cost", "What is searched", "What is known"


class SearchOptions(BackboneOptions, DeviceOptions, ExportOptions):
    """The flags of `schedules search`."""

    saving: MaybeFloat = flag("--saving PCT", "Least saving of the whole model's FLOPs, in percent.", LIMITS)
    max_total_gflops: MaybeFloat = flag("--max-total-gflops G", "Limit of the whole model.", LIMITS)
    max_encoder_gflops: MaybeFloat = flag("--max-encoder-gflops G", "Limit of the encoder.", LIMITS)
    max_ms: MaybeFloat = flag("--max-ms MS", "Limit of one image's latency on this device, in milliseconds.", LIMITS)
    latency: bool = flag("--latency", "Predict latencies also without a limit, and measure the first row's.", LIMITS)
    families: MaybeStrs = flag(
        "--families NAME",
        "Family of encoders, or several with commas. Repeat for more. [default: all but more-levels]",
        SEARCHED,
    )
    max_layers: int = flag("--max-layers N", "Largest number of token layers.", SEARCHED, default=9, min=1, max=40)
    size: MaybeStr = flag(
        "--size SIZE",
        "Image size: height x width as in 800x1333, or coco-first100, or coco-val. "
        "[default: coco-first100; with --max-ms or --latency 640x640, on a GPU 800x1333]",
    )
    rules: str = flag(
        "--rules NAME", "Rule set of the count: fvcore, published, complete or products.", default="fvcore"
    )
    rows: int = flag("--rows N", "Number of points of the frontier that are shown.", default=10, min=1)
    max_seconds: float = flag(
        "--max-seconds S", "Time limit per profiled schedule, in seconds.", HOW, default=10.0, min=0.1
    )
    anew: bool = flag("--anew", "Profile again instead of using what an earlier search measured.", HOW)
    records: MaybePath = flag("--records RUN", "Run whose accuracies are shown and used for advice.", KNOWN)
    within: float = flag(
        "--within POINTS",
        "Number of points below the baseline's accuracy that are good enough.",
        KNOWN,
        default=1.0,
        min=0.0,
    )
    metric: str = flag("--metric METRIC", "Accuracy of the records.", KNOWN, default="pq")
    export_figure: MaybePath = flag(
        "--export-figure PATH", "Write the frontier as a figure: .svg, .png or .pdf.", EXPORT
    )
    write: MaybePath = flag("--write DIR", "Folder for a schedule file of each shown row, ready to train.")

    def limits(self) -> SearchLimits:
        """The limits, checked."""
        from proscale_bench.analysis.search import SearchLimits

        return SearchLimits(
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
        from proscale_bench.specs.candidates import DEFAULT_FAMILIES, FAMILIES
        from proscale_bench.specs.families import require_masks

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
            require_masks(spec, "schedules search"),
            parse_size(default if self.size is None else self.size),
            get_rules(self.rules),
            limits,
            tuple(dict.fromkeys(families)) or DEFAULT_FAMILIES,
            self.max_layers,
        )

    def check_outputs(self) -> None:
        """Refuse what cannot be written before anything is searched.

        Raises:
            BenchError: something is there already, or a figure's format is unknown.
        """
        from proscale_bench.data.whole_folder import refuse_folder
        from proscale_bench.files import refuse_overwrite

        if self.export_figure is not None:
            one_of(FigureFormat, self.export_figure.suffix.lstrip("."), "format of a figure")
            refuse_overwrite(self.export_figure, self.force)
        if self.write is not None:
            refuse_folder(self.write, COMMAND, self.force)

    def read_records(self) -> list[Record] | None:
        """The records of `--records`, with a warning for each that is left out; None without the flag.

        Raises:
            BenchError: no such run, or no metric of an accuracy.
        """
        from proscale_bench.results.metrics import get_metric

        if get_metric(self.metric).section != "accuracy":
            raise BenchError(f"--metric {self.metric}: not an accuracy", "as in --metric pq")
        if self.records is None:
            return None
        from proscale_bench.commands.exporting import warn_of_gaps
        from proscale_bench.results.store import load

        records, problems = load(self.records)
        warn_of_gaps(problems, records)
        return records

    def advise(self, found: Found, records: list[Record]) -> Advice:
        """Advice on a search from the records' accuracies."""
        from proscale_bench.analysis.search_accuracy import advise

        return advise(found, records, self.within, self.metric)

    def write_files(self, found: Found, rows: Sequence[SearchRow]) -> None:
        """Write the figure, and the folder of schedules whole or not at all.

        Raises:
            BenchError: something cannot be written.
        """
        from proscale_bench.config.search_files import schedule_files
        from proscale_bench.data.whole_folder import whole_folder
        from proscale_bench.files import write_atomic

        if self.export_figure is not None:
            from proscale_bench.render.search_figure import search_figure
            from proscale_bench.render.style import load_matplotlib, save

            load_matplotlib()
            kind = one_of(FigureFormat, self.export_figure.suffix.lstrip("."), "format of a figure")
            write_atomic(self.export_figure, save(search_figure(found, rows), kind), overwrite=self.force)
        if self.write is not None:
            flags = f"--backbone {found.request.spec.backbone_name}"
            if self.weights is not None and self.specs_of((), self.backbone) == (found.request.spec.baseline(),):
                flags = f"--start {shlex.quote(str(self.weights.resolve()))}"  # of no other schedule can one start
            described = [(row.count.spec.encoder, f"{row.reason}; capacity {100 * row.capacity:.1f} %") for row in rows]
            with whole_folder(self.write, COMMAND, self.force) as folder:
                for name, text in schedule_files(described, flags).items():
                    (folder / name).write_text(text, encoding="utf-8")


@takes(SearchOptions)
def search(options: SearchOptions) -> None:
    """Search all schedules and sibling encoders for those that give the most capacity for a cost.

    Example: proscale-bench schedules search --saving 30 --backbone swin_t
    """
    from proscale_bench.analysis.search import search as search_on_paper
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.commands.progress import progress_bar
    from proscale_bench.render import search as render

    exports, request = options.exports(), options.request()
    options.check_outputs()
    records = options.read_records()
    timed = search_in_time(options, request) if options.timed else None
    with progress_bar("counting", after_s=3.0):
        found = timed.found if timed else search_on_paper(request)
    rows = found.spread(options.rows)
    advice = options.advise(found, records) if records is not None else None
    tables = [render.table(found, rows), *([render.accuracies(advice)] if advice else [])]
    answers = [
        *render.headlines(found),
        *(render.realised(found.pick, *timed.of_pick) if timed and timed.of_pick else []),
    ]
    answers += render.advised(advice) if advice else []
    notes = render.footer(found, len(rows))
    notes += render.prediction(timed.model.error, timed.where, timed.others_cpu_pct) if timed else []
    exports.write([row.row() for row in found.rows], lambda: render.markdown(tables, answers, notes))
    options.write_files(found, rows)
    console = exports.console
    print_tables(console, tables, break_labels=True)
    print_lines(console, answers, style="")
    print_lines(console, notes)
    if options.write:
        from proscale_bench.config.search_files import TRAIN

        print_lines(console, [f"schedules: {options.write} (all of them: sh {options.write / TRAIN})"], soft_wrap=True)


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

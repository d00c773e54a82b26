"""Names of rows: the schedule, and whatever tells a row from others that would look alike. Pure functions of records.

Every table, figure and page asks `labels`, so that a row has one name wherever it stands beside the same others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from proscale_bench.analysis.settings import by_setting, grouped
from proscale_bench.results.model_key import ModelKey, classes_of, model_of
from proscale_bench.results.record import Record, protocol_of
from proscale_bench.specs.model import TRACED, dimension_words, model_words

MEAN = "mean of "  # begins the source of an accuracy that is the mean of several trainings
DIGITS = 8  # of a digest: enough to tell two of a run apart


def labels(
    records: Sequence[Record], sources: Sequence[Record] | None = None, *, with_trainings: bool = True
) -> list[str]:
    """A name for each row, in order: `3,3,3`; `3,3,3, 20 queries`; `3,3,3, resize 400`; `3,3,3, model_b.pth`.

    Rows look alike where backbone and schedule are the same, and both are found here or both published. Tables and
    marks tell the rest. A dimension in which models on one backbone differ is always named, since it costs.

    Args:
        records: rows that stand together, each with the accuracy that is shown in it.
        sources: for each row the record that its accuracy comes from; the rows themselves where None.
        with_trainings: say of which trainings a row is the mean: `3,3,3 (mean of seeds 0, 1, 2)`.
    """
    pairs = list(zip(records, sources or records, strict=True))
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, (record, _) in enumerate(pairs):
        published = record.accuracy is not None and record.accuracy.provenance == "published"
        groups.setdefault((record.identity.backbone, record.identity.name, published), []).append(index)
    bare = [_with_trainings(record) if with_trainings else record.identity.name for record in records]
    found = _with_dimensions(bare, records)
    for group in groups.values():
        if len({found[index] for index in group}) == len(group):
            continue
        names = distinct([found[index] for index in group], [traits_of(*pairs[index]) for index in group])
        for index, name in zip(group, names, strict=True):
            found[index] = name
    return found


def model_names(records: Iterable[Record]) -> dict[ModelKey, str]:
    """A name for each model of the records: `3,3,3 on tiny`, with its dimensions and what else tells it from others."""
    models = {model_of(record): record for record in records}
    found = list(models.values())
    identities = [record.identity for record in found]
    own = [f"{one.name} on {model_words(one.backbone, one.dimensions or {})}" for one in identities]
    names = distinct(own, [dict(_of_model(record)) for record in found])
    return dict(zip(models, names, strict=True))


def shared_model(records: Sequence[Record]) -> dict[str, object]:
    """The dimensions that all models of a table have, by name: those that its title names, and not its rows."""
    if not records:
        return {}
    first, *others = [record.identity.dimensions or {} for record in records]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """The names of the records' models by the records' digests, whatever was found of them: `3,3,3, 20 queries`.

    A name is unlike the others at the same setting.
    """
    found: dict[str, str] = {}
    for group in by_setting(records).values():
        bare = [one if one.is_evaluated else one.model_copy(update={"accuracy": None}) for one in group]
        found |= zip((record.digest for record in group), labels(bare, with_trainings=False), strict=True)
    return found


def distinct(names: Sequence[str], traits: Sequence[dict[str, str]]) -> list[str]:
    """Names with as many of their traits as tell them apart, the most telling first.

    Args:
        traits: for each name its traits, in words by what they are of, in the same order; empty: as usual.
    """
    found = list(names)
    for trait in merged(traits):
        for name, group in grouped(range(len(found)), found.__getitem__).items():
            words = {index: traits[index].get(trait, "") for index in group}
            if len(set(words.values())) > 1:
                found = [f"{name}, {words[i]}" if words.get(i) else one for i, one in enumerate(found)]
    return found


def merged(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Every key once, in order; one that some rows lack stands where those that have it put it."""
    order: list[str] = []
    for one in rows:
        place = 0
        for key in one:
            if key in order:
                place = order.index(key)
            else:
                order.insert(place, key)
            place += 1
    return order


def _with_dimensions(names: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Names with every dimension in which models on one backbone differ; those of its name go without saying."""
    words = [dimension_words(dict(sorted((record.identity.dimensions or {}).items()))) for record in records]
    found = list(names)
    for group in grouped(range(len(found)), lambda index: records[index].identity.backbone).values():
        for name in (one for one in merged(words[index] for index in group) if one not in TRACED):
            if len({words[index].get(name) for index in group}) > 1:
                for index in group:
                    found[index] += f", {words[index][name]}" if name in words[index] else ""
    return found


def _with_trainings(record: Record) -> str:
    """The schedule, and the trainings that its accuracy is the mean of."""
    source = record.accuracy.source if record.accuracy else ""
    return f"{record.identity.name} ({source})" if source.startswith(MEAN) else record.identity.name


def traits_of(record: Record, source: Record) -> dict[str, str]:
    """All that may tell a row from another: of its model, its evaluation, how it was run, and its weights."""
    return dict([*_of_model(record), *protocol_traits(source), *execution_traits(source), *_of_weights(record, source)])


def _of_model(record: Record) -> Iterator[tuple[str, str]]:
    classes = classes_of(record)
    yield "family", record.identity.model
    yield from dimension_words(dict(sorted((record.identity.dimensions or {}).items()))).items()
    yield "classes", f"{classes} classes" if classes else "unknown classes"


def protocol_traits(record: Record) -> Iterator[tuple[str, str]]:
    """The traits of how a record was evaluated: names and words."""
    protocol = protocol_of(record)
    if protocol is None or record.accuracy is None or record.accuracy.evaluated is None:
        return
    short, _, longest = protocol.resize.partition(",")
    whose = protocol.postprocessing
    yield "version", "by an older version" if protocol.missing else ""
    yield "dataset", protocol.dataset
    yield "folder", record.accuracy.evaluated.data_folder or ""
    yield "annotations", protocol.annotations[:DIGITS]
    yield "images", f"{protocol.images:,} images"
    yield "split", f"split {protocol.split}" if protocol.split else ""
    yield "tasks", " and ".join(protocol.tasks)
    yield "resize", "not resized" if protocol.resize == "none" else f"resize {short}"
    yield "post-processing", f"{whose} post-processing" if whose else ""
    yield "longest side", f"longest side {longest}" if longest else ""
    for name, value in (protocol.thresholds or {}).items():
        yield f"{name} threshold", f"{name} threshold {value:g}"


def execution_traits(record: Record) -> Iterator[tuple[str, str]]:
    """The traits of how a record's model was run: names and words."""
    how = record.execution
    if how is None:
        return
    yield "device", how.device_name
    yield "dtype", how.dtype
    yield "batch size", f"batch {how.batch_size}"
    yield "engine", how.engine if how.inference_engine else ""
    yield "engine version", how.inference_engine_version or ""
    yield "mode", how.mode.replace("_", " ")
    yield "sampling", f"{how.sampling} sampling"
    yield "optimizations", "" if how.optimizations else "no optimizations"
    yield "threads", f"{how.threads} threads"


def _of_weights(record: Record, source: Record) -> Iterator[tuple[str, str]]:
    accuracy, how = record.accuracy, record.evaluated
    if accuracy is not None and not accuracy.source.startswith(MEAN):
        yield "source", accuracy.source
    yield "seed", f"seed {how.training_seed}" if how and how.training_seed is not None else ""
    yield "recipe", f"recipe {how.training_recipe[:DIGITS]}" if how and how.training_recipe else ""
    yield "weights", f"weights {source.identity.weights[:DIGITS]}" if source.identity.weights else ""
    yield "class order", "classes in another order" if source.identity.class_order else ""
    yield "record", f"record {source.digest[:DIGITS]}"

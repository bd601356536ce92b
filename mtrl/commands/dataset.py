"""`mtrl dataset build|split|seal|open|check`: from tasks to the files that a job reads (docs/datasets.md)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mtrl.console import emit, fail, progress
from mtrl.datasets import building, checks, files, sealing, splitting
from mtrl.datasets.rows import read_rows
from mtrl.wording import counted

ENDINGS = ".jsonl, .json, .csv or .parquet"
COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}

dataset = typer.Typer(no_args_is_help=True, help="Build, split, seal, open and check data sets of tasks.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Source = Annotated[str, typer.Argument(help="A data set: file, folder, file:// or s3:// URI.")]
Out = Annotated[str, typer.Option(help=f"The file to write: {ENDINGS}.")]
Keys = Annotated[
    str,
    typer.Option(
        envvar="MTRL_SEAL_KEYS",
        help="The key ring: file:/path.json, secretsmanager:ARN or kms:/path.json.",
    ),
]
Region = Annotated[str, typer.Option(envvar="AWS_REGION", help="The Region of the KMS key.")]


@dataset.command()
def build(
    out: Out,
    environment: Annotated[str, typer.Option(help="The environment that the tasks are of.")] = "",
    domain: Annotated[str | None, typer.Option(help="Its domain; default: the first one.")] = None,
    split: Annotated[str, typer.Option(help="train, validation, test or all of its tasks.")] = "all",
    tasks: Annotated[
        str | None, typer.Option(help="A file of task objects (*.jsonl, *.json), or a data set.")
    ] = None,
    accept_license: Annotated[bool, typer.Option(help="Accept the licence of the tasks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write unique rows from an environment's own tasks, or from a file of tasks."""
    if tasks is None and not environment:
        fail("Where are the tasks? Name --environment, or a file with --tasks.")
    try:
        files.check_format(out)
        if tasks is not None:
            files.keep_apart(tasks, out)
            rows = building.from_file(tasks, environment)
        else:
            rows = building.from_environment(environment, domain, split, accept_license, os.environ)
        built = building.build(rows)
        where = files.write(out, [row.prompt for row in built.rows])
    except files.DataError as error:
        fail(str(error))
    _say(
        as_json,
        f"{counted(len(built.rows), 'row')} in {where} (repeated and left out: {built.dropped}).",
        rows=len(built.rows),
        dropped=built.dropped,
        out=where,
    )


@dataset.command()
def split(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the three files; rows of a split there keep place.")],
    train: Annotated[float, typer.Option(help="Share of the training split.")] = 0.8,
    validation: Annotated[float, typer.Option(help="Share of the validation split.")] = 0.1,
    evaluation: Annotated[float, typer.Option(help="Share of the evaluation split.")] = 0.1,
    stratify: Annotated[str, typer.Option(help="A field, as input.domain: its values are strata.")] = "",
    seed: Annotated[int, typer.Option(help="Another seed, another division.")] = 0,
    fresh: Annotated[bool, typer.Option(help="Forget the split that lies in --out.")] = False,
    ending: Annotated[str, typer.Option("--format", help="jsonl, json, csv or parquet.")] = "jsonl",
    as_json: AsJson = False,
) -> None:
    """Divide a data set by the content of its rows into train, validation and evaluation."""
    shares = {"train": train, "validation": validation, "evaluation": evaluation}
    try:
        files.check_format(f"train.{ending}")
        splitting.check_shares(shares)
        found = splitting.find(out)
        for path in found.values():
            files.keep_apart(source, str(path))
        earlier = {} if fresh else splitting.earlier(found)
        divided = splitting.split(read_rows(source), shares, seed=seed, by=stratify, earlier=earlier)
        written = {
            name: files.write(str(out / f"{name}.{ending}"), [row.prompt for row in rows])
            for name, rows in divided.rows.items()
            if rows
        }
        splitting.remove(found, keep=set(written.values()))
    except files.DataError as error:
        fail(str(error))
    sizes = {name: len(rows) for name, rows in divided.rows.items()}
    if as_json:
        parts = {name: {"rows": sizes[name], "file": where} for name, where in written.items()}
        emit({"splits": parts, "strata": divided.strata, "earlier": len(earlier)})
    else:
        _show_splits(sizes, divided.strata)


@dataset.command()
def seal(
    source: Source,
    out: Out,
    name: Annotated[str, typer.Option(help="The data set's name: targets are sealed for it.")],
    keys: Keys = "",
    key: Annotated[str, typer.Option(help="The id of the key; needed if the key ring has several.")] = "",
    region: Region = "",
    as_json: AsJson = False,
) -> None:
    """Encrypt the targets of a data set, and nothing else; duplicates are refused before."""
    try:
        files.check_format(out)
        files.keep_apart(source, out)
        ring = sealing.read_keys(keys, region)
        kid = sealing.choose_key(ring, key)
        sealed = sealing.seal_rows(read_rows(source), name=name, kid=kid, keys=ring)
        where = files.write(out, sealed.prompts)
    except files.DataError as error:
        fail(str(error))
    _say(
        as_json,
        f"{counted(sealed.sealed, 'target')} sealed with key {kid} in {where} "
        f"(sealed before: {sealed.already}, rows without one: {sealed.without_target}).",
        rows=len(sealed.prompts),
        sealed=sealed.sealed,
        already_sealed=sealed.already,
        without_target=sealed.without_target,
        kid=kid,
        name=name,
        out=where,
    )


@dataset.command(name="open")
def open_(
    source: Source,
    out: Annotated[str, typer.Option(help=f"A new local file, for its owner alone: {ENDINGS}.")],
    keys: Keys = "",
    region: Region = "",
    as_json: AsJson = False,
) -> None:
    """Decrypt the targets of a data set into a new file of mode 0600; nothing is shown."""
    try:
        files.check_format(out)
        prompts, opened = sealing.open_rows(read_rows(source), sealing.read_keys(keys, region))
        where = files.write_private(out, prompts)
    except files.DataError as error:
        fail(str(error))
    text = f"{opened} of {len(prompts)} targets opened in {where}. Remove it when you have looked at it."
    _say(as_json, text, rows=len(prompts), opened=opened, out=where)


@dataset.command()
def check(
    sources: Annotated[list[str], typer.Argument(help="The splits, a file each; or the folder of a split.")],
    batch: Annotated[int, typer.Option(min=1, help="global_batch_size of the job.")] = 128,
    max_tokens: Annotated[int, typer.Option(min=1, help="sampling_max_tokens of the job.")] = 4096,
    context_tokens: Annotated[int | None, typer.Option(min=1, help="The model's context.")] = None,
    require_sealed: Annotated[bool, typer.Option(help="A target in clear fails, and does not warn.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the splits of a data set; exit code 1 if a check fails."""
    try:
        data = checks.DataSet({name: read_rows(place) for name, place in splitting.named(sources).items()})
        if not data.rows:
            fail(f"{', '.join(sources)}: there is no row in it.")
    except files.DataError as error:
        fail(str(error))
    found = checks.check(data, checks.Rules(batch, max_tokens, context_tokens, require_sealed))
    if as_json:
        sizes = {name: len(rows) for name, rows in data.splits.items()}
        emit({"splits": sizes, "checks": [checks.as_json(each) for each in found]})
    else:
        show_checks(found)
    if any(each.status == "fail" for each in found):
        raise typer.Exit(1)


def _say(as_json: bool, text: str, **result: Any) -> None:
    if as_json:
        emit(result)
    else:
        progress.print(text, highlight=False, markup=False, soft_wrap=True)


def _show_splits(sizes: Mapping[str, int], strata: Mapping[str, Mapping[str, int]]) -> None:
    table = Table()
    table.add_column("stratum")
    for name in sizes:
        table.add_column(name, justify="right")
    for value, counts in {**strata, "all rows": sizes}.items():
        table.add_row(_plain(value), *(str(count) for count in counts.values()))
    progress.print(table, highlight=False)


def show_checks(found: Sequence[checks.Check]) -> None:
    """The table of checks."""
    table = Table()
    for column in ("check", "", "evidence", "next"):
        table.add_column(column, overflow="fold", no_wrap=column in ("check", ""))
    for each in found:
        colour = COLOURS[each.status]
        table.add_row(each.id, f"[{colour}]{each.status}[/]", _plain(each.evidence), _plain(each.next))
    progress.print(table, highlight=False)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")

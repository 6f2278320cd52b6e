"""Command line: learn, compress, decompress, look inside, compare.

python -m workingpapers.papers.circuit_compression train digits.npy -o digits.pcm
python -m workingpapers.papers.circuit_compression compress new.npy -m digits.pcm -o new.pcz
python -m workingpapers.papers.circuit_compression decompress new.pcz -m digits.pcm -o back.npy
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ._model import CodecModel

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Lossless compression of many small records with a probabilistic circuit. Inputs: .npy (integers), a folder of grey "
                       ".png, idx or idx.gz, .csv, .parquet.")

Input = Annotated[Path, typer.Argument(help="Records or table.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]
Model = Annotated[Path | None, typer.Option("--model", "-m", help="Model from `train` (.pcm), or a .pcz file that holds one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")]
Threads = Annotated[int, typer.Option("--threads", min=1, max=256)]
Latents = Annotated[int, typer.Option("--latents", min=1, max=1024, help="States of each latent variable.")]


@contextmanager
def bar(words: str, total: float, quiet: bool) -> Iterator[Any]:
    """A progress bar on standard error: a function of (done, words)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    percent = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as shown:
        task = shown.add_task(words, total=max(total, 1e-9))

        def update(done: float, words: str | None = None) -> None:
            shown.update(task, completed=done, description=words)

        yield update
        shown.update(task, completed=max(total, 1e-9))


def say(words: str, quiet: bool) -> None:
    if not quiet:
        typer.echo(words)


@app.command()
def train(source: Input, output: Output, latents: Latents = 16, epochs: Annotated[int, typer.Option(min=1)] = 8,
          trees: Annotated[int, typer.Option(min=1)] = 1,
          categories: Annotated[int, typer.Option(help="Values that a record may hold; 0: up to the largest seen.", min=0)] = 0,
          seed: int = 0, threads: Threads = 1, quiet: Quiet = False) -> None:
    """Learn a model from records (a .pcm file) or from a table (a .pcz file without rows)."""
    from ._files import load

    found = load(source)
    with bar("learning", 1.0, quiet) as update:
        if found.table is not None:
            from ._tabular import TabularCodec

            codec = TabularCodec(n_latents=latents, random_state=seed, epochs=epochs).fit(found.table, progress=update)
            codec.save(output)
            say(f"{output}: {len(found.table)} rows, {codec.model_.n_parameters:,} parameters, {output.stat().st_size:,} bytes", quiet)
            return
        from ._hclt import HCLT
        from ._learn import GREY

        assert found.records is not None
        options = GREY if found.records.ndim == 3 else {}
        model = HCLT(latents, categories or "auto", n_trees=trees, random_state=seed, n_jobs=threads, **options)
        model.fit(found.records, epochs=max(1, epochs - 2), full_epochs=min(2, epochs - 1), progress=update)
        model.save(output)
    say(f"{output}: {len(found.records):,} records, {model.n_parameters_:,} parameters, {model.history_[-1]:.4f} bits a value on what it "
        f"learned from, {output.stat().st_size:,} bytes ({len(model.quantise().packed):,} when embedded)", quiet)


@app.command()
def compress(source: Input, output: Output, model: Model = None,
             layout: Annotated[str, typer.Option(help="block, or per-record")] = "block",
             embed: Annotated[bool, typer.Option("--embed/--no-embed", help="Put the model into the file.")] = False,
             escape: Annotated[bool, typer.Option("--escape", help="Keep values that the model does not know aside.")] = False,
             threads: Threads = 1, quiet: Quiet = False) -> None:
    """Compress records with a model. A table without --model learns one from itself and carries it along."""
    from ._codec import Codec, replacing
    from ._files import load

    found = load(source)
    if found.table is not None:
        from ._tabular import TabularCodec

        with bar("learning", 1.0, quiet) as update:
            if model is None:
                codec = TabularCodec(random_state=0, layout=layout, threads=threads).fit(found.table, progress=update)
            else:
                codec = TabularCodec.load(model)
        with bar("compressing", len(found.table), quiet) as update:
            data = codec.compress(found.table, embed=embed or model is None, progress=update)
        with replacing(output) as file:
            file.write(data)
        if source.suffix.lower() == ".csv" and found.table.to_csv(index=False).encode() != source.read_bytes():
            say("the table is kept to the last bit of its values; the text of the .csv will be laid out in another way", quiet)
        n, size, side = int(found.table.size), len(data), len(codec.model_.packed)
        size -= side + 4 if embed or model is None else 0
    else:
        assert found.records is not None
        if model is None:
            raise ValueError("--model is needed to compress records: make one with `train`")
        tables = _codec_model(model)
        writer = Codec(tables, layout=layout, embed=embed, escape=escape, threads=threads)  # type: ignore[arg-type]
        with bar("compressing", len(found.records), quiet) as update:
            size = writer.write(output, found.records, progress=update)
        n, side = int(found.records.size), len(tables.packed)
        size -= side + 4 if embed else 0
    say(f"{output}: {output.stat().st_size:,} bytes from {found.plain_bytes:,}", quiet)
    if n:
        say(f"bits a value: {8 * size / n:.4f} without the model, {8 * (size + side) / n:.4f} with it ({side:,} bytes)", quiet)


@app.command()
def decompress(source: Input, output: Output, model: Model = None, threads: Threads = 1, quiet: Quiet = False) -> None:
    """Restore records (.npy, idx, or a folder of .png) or a table (.csv, .parquet)."""
    from ._archive import Archive
    from ._files import save_records, save_table
    from ._tabular import is_table, read_table

    tables = None if model is None else _codec_model(model)
    with Archive(source, tables) as archive, bar("decompressing", len(archive), quiet) as update:
        if is_table(archive):
            save_table(output, read_table(source, tables, threads=threads, progress=update))
        else:
            save_records(output, archive.read(threads=threads, progress=update))
        say(f"{output}: {len(archive):,} records", quiet)


@app.command()
def info(source: Annotated[Path | None, typer.Argument(help="A .pcz or .pcm file.")] = None,
         format: Annotated[bool, typer.Option("--format", help="Print the layout of .pcz files.")] = False) -> None:
    """What a file says about itself, after its checksums."""
    from ._codec import Codec
    from ._format import FORMAT

    if format or source is None:
        typer.echo(FORMAT)
        return
    if source.name.endswith(".pcm"):
        from ._hclt import HCLT

        found = HCLT.load(source)
        told: dict[str, Any] = {"variables": found.n_features_in_, "categories": int(found.n_categories_.max()), "latents": found.n_latents,
                                "trees": found.n_trees, "parameters": found.n_parameters_, "model_sha256": found.quantise().sha256.hex()}
    else:
        told = Codec.inspect(source)
    for name, value in told.items():
        typer.echo(f"{name:<16} {value}")


@app.command()
def bench(source: Input, against: Annotated[str, typer.Option(help="Codecs, with commas between.")] = "png,webp,jxl,jp2,zstd,xz",
          latents: Latents = 16, epochs: Annotated[int, typer.Option(min=1)] = 8, seed: int = 0,
          test: Annotated[float, typer.Option(help="Share of the records to test on.")] = 0.1, quiet: Quiet = False) -> None:
    """Bits a value of the circuit and of standard codecs on the same held-out records, without and with the model."""
    from ._files import load
    from ._rates import break_even, record_rates, table_rates

    found = load(source)
    families = [f.strip() for f in against.split(",") if f.strip()]
    with bar("measuring", 1.0, quiet) as update:
        def told(words: str) -> None:
            update(0.0, words)

        if found.table is not None:
            rows, n = table_rates(found.table, families, n_latents=latents, epochs=epochs, seed=seed, told=told)
            records = len(found.table)
        else:
            assert found.records is not None
            rows, n = record_rates(found.records, families, n_latents=latents, epochs=epochs, share=test, seed=seed, told=told)
            records = n // int(found.records[0].size)
    typer.echo(f"{'codec':<38} {'bytes':>12} {'besides':>12} {'bits a value':>13} {'with besides':>13}")
    for row in [*rows[:2], *sorted(rows[2:], key=lambda r: r.data)]:
        typer.echo(f"{row.name:<38} {row.data:>12,} {row.side:>12,} {row.bits(n):>13.4f} {row.bits_with_side(n):>13.4f}")
    paid = break_even(rows, records)
    what = "rows" if found.table is not None else "records"
    typer.echo(f"on {records:,} {what}; besides: the model, a dictionary")
    typer.echo(f"the model has paid for itself against {paid[0]} from {paid[1]:,.0f} {what} on" if paid
               else "another codec needs no more bits even without counting the model")


def _codec_model(path: Path) -> CodecModel:
    """Integer tables from a .pcm file, or from a .pcz file that holds a model."""
    from ._archive import Archive
    from ._format import MAGIC
    from ._hclt import HCLT

    with path.open("rb") as file:
        is_archive = file.read(len(MAGIC)) == MAGIC
    if is_archive:
        with Archive(path) as archive:
            return archive.model
    return HCLT.load(path).quantise()


def main() -> None:
    """Run; errors of the caller's or the file's making are one line on standard error and exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

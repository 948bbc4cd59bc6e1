"""Generates small Parquet files as other programs write them.

    python crates/rldp-data/testdata/tables/generate.py

Needs pyarrow; last written with pyarrow 26.0.1.
"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent


def write(name, codec="snappy", **columns):
    """One file of columns, which are (values, type)."""
    table = pa.table({column: pa.array(values, kind) for column, (values, kind) in columns.items()})
    pq.write_table(table, HERE / f"{name}.parquet", compression=codec, store_schema=False)


def main():
    """Writes every file."""
    text = (["one two", "three four"], pa.string())
    for kind in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]:
        write(f"id-{kind}", text=text, who=([3, 100], getattr(pa, kind)()))
    write("id-bool", text=text, who=([True, False], pa.bool_()))
    write("id-float", text=text, who=([7.0, 8.0], pa.float64()))
    write("id-fraction", text=text, who=([7.0, 7.5], pa.float64()))
    write("id-nan", text=text, who=([7.0, float("nan")], pa.float64()))
    write("id-null", text=text, who=([7, None], pa.int64()))
    write("id-decimal", text=text, who=([7, 8], pa.decimal128(9, 2)))
    write("id-date", text=text, who=([7, 8], pa.date32()))
    write("text-null", text=(["one two", None], pa.string()), who=([1, 2], pa.int64()))
    write("text-int", text=([1, 2], pa.int64()), who=([1, 2], pa.int64()))
    for codec in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
        write(f"codec-{codec}", codec, text=text, who=([1, 2], pa.int64()))
    part = pa.struct([("role", pa.string()), ("content", pa.string()), ("calls", pa.list_(pa.struct([("name", pa.string()), ("at", pa.float64())])))])
    messages = [
        [
            {"role": "user", "content": "It's \"7\" & é\n", "calls": None},
            {"role": "assistant", "content": None, "calls": [{"name": "f", "at": 1.0}]},
            {"role": "assistant", "content": "Seven.", "calls": []},
        ]
    ]
    tools = [[{"name": "f", "strict": True, "size": 3}]]
    tool = pa.struct([("name", pa.string()), ("strict", pa.bool_()), ("size", pa.int32())])
    write("messages", messages=(messages, pa.list_(part)), tools=(tools, pa.list_(tool)))


if __name__ == "__main__":
    main()

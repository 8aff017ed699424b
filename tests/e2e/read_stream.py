#!/usr/bin/python3
"""Prints a captured stream, knowing nothing but the .proto file.

    read_stream.py --proto DIR FILE

DIR holds towline/v1/wire.proto. FILE is either hex rows, one frame a line, as psql prints them
(psql -At -c "SELECT data FROM pg_logical_slot_peek_binary_changes(…)"), or binary: per frame its
length as four bytes in network order, then its bytes. It shows that a reader in another language
needs the .proto alone.
"""
import argparse, importlib, struct, subprocess, sys, tempfile


def load(proto_dir):
    out = tempfile.mkdtemp()
    subprocess.run(["protoc", "-I", proto_dir, "--python_out", out, "towline/v1/wire.proto"],
                   check=True)
    sys.path.insert(0, out)
    return importlib.import_module("towline.v1.wire_pb2")


def frames(data):
    lines = data.split()
    if lines and all(line.startswith(b"\\x") for line in lines):
        yield from (bytes.fromhex(line[2:].decode()) for line in lines)
        return
    while data:
        size, = struct.unpack(">I", data[:4])
        yield data[4:4 + size]
        data = data[4 + size:]


def fields(image, columns):
    at = 2
    for column in columns:
        length, = struct.unpack_from(">i", image, at)
        at += 4
        value = {-1: "NULL", -2: "<unchanged>", -3: "<in parts>"}.get(length)
        if value is None:
            raw, at = image[at:at + length], at + length
            value = repr(raw.decode()) if column.format else "\\x" + raw.hex()
        yield f"{column.name}={value}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--proto", required=True)
    parser.add_argument("file")
    args = parser.parse_args()
    wire, relations = load(args.proto), {}
    for payload in frames(open(args.file, "rb").read()):
        for entry in wire.Frame.FromString(payload).entries:
            kind = entry.WhichOneof("kind")
            body = getattr(entry, kind)
            if kind == "relation":
                relations[body.number] = body
            if kind not in ("insert", "update", "delete"):
                print(kind, str(body).replace("\n", " ")[:200])
                continue
            relation = relations[body.relation]
            sent = [c for c in relation.columns if c.sent]
            key = [c for c in relation.columns if c.in_key]
            print(kind, f"{relation.schema}.{relation.name}", end=" ")
            if kind != "insert":
                old = {wire.NONE: [], wire.KEY: key, wire.FULL: sent}[body.old_image]
                print(wire.OldImage.Name(body.old_image), *fields(body.old_row, old), end=" ")
            if kind != "delete":
                print("new", *fields(body.new_row, sent), end="")
            print()


main()

"""A reader in another language needs the .proto alone: read_stream.py prints a captured stream."""
import pathlib
import subprocess
import sys

READER = pathlib.Path(__file__).parent / "read_stream.py"
PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def read(file):
    done = subprocess.run([sys.executable, str(READER), "--proto", str(PROTO), str(file)], text=True,
                          check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_reader_prints_a_captured_stream(source, tmp_path):
    source.script("CREATE SCHEMA s", "CREATE TABLE s.t (id int PRIMARY KEY, v text, n numeric, doc text)",
                  "ALTER TABLE s.t ALTER doc SET STORAGE EXTERNAL",
                  "CREATE TABLE full_rows (a text, b regclass)",
                  "ALTER TABLE full_rows REPLICA IDENTITY FULL")
    source.query("SELECT pg_create_logical_replication_slot('reader', 'towline')")
    source.script("INSERT INTO s.t VALUES (1, 'é', 1.5, repeat('x', 5000)), (2, NULL, NULL, NULL)",
                  "UPDATE s.t SET v = 'changed' WHERE id = 1", "UPDATE s.t SET id = 3 WHERE id = 2",
                  "INSERT INTO full_rows VALUES ('a', 's.t')", "UPDATE full_rows SET a = 'b'",
                  "DELETE FROM full_rows", "TRUNCATE s.t",
                  "SELECT pg_logical_emit_message(true, 'hello', 'content')")
    text = source.psql("SELECT data FROM pg_logical_slot_peek_binary_changes('reader', NULL, NULL, "
                       "'min_protocol', '1', "
                       "'max_protocol', '1', 'messages', 'on')")
    file = tmp_path / "stream.hex"
    file.write_text(text)
    lines = read(file)
    kinds = [line.split()[0] for line in lines]
    assert kinds[0] == "hello"
    assert kinds.count("begin") == kinds.count("commit") == 8
    assert [kind for kind in kinds if kind in ("insert", "update", "delete", "truncate", "message")] == [
        "insert", "insert", "update", "update", "insert", "update", "delete", "truncate", "message"]
    inserts = [line for line in lines if line.startswith("insert s.t")]
    assert f"id=\\x00000001 v=\\x{'é'.encode().hex()}" in inserts[0] and "v=NULL n=NULL doc=NULL" in inserts[1]
    updates = [line for line in lines if line.startswith("update s.t")]
    assert "doc=<unchanged>" in updates[0] and " NONE " in updates[0]
    assert " KEY id=\\x00000002 " in updates[1] and "id=\\x00000003" in updates[1]
    full = [line for line in lines if line.startswith(("update public.full_rows", "delete public.full_rows"))]
    assert "FULL a=\\x61 b='s.t'" in full[0] and "new a=\\x62" in full[0] and "FULL a=\\x62 b='s.t'" in full[1]

    # The other form of a capture: each frame after its length.
    frames = [bytes.fromhex(row[2:]) for row in text.split()]
    binary = tmp_path / "stream.bin"
    binary.write_bytes(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    assert read(binary) == lines

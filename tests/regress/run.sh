#!/bin/sh
# Runs the pg_regress suite of the output plugin against a server tree in which the extension is
# installed:
#
#   tests/regress/run.sh BINDIR [pg_regress options]
#
# BINDIR is the tree's bin directory; pg_regress is looked for in the same tree. A temporary
# server is started for the run, by the user postgres when we are root (PostgreSQL refuses root). Logs
# and results are kept when a test fails.
set -eu

bindir=${1:?usage: run.sh BINDIR [pg_regress options]}
shift
here=$(cd "$(dirname "$0")" && pwd)
pg_regress=$("$bindir/pg_config" --pkglibdir)/pgxs/src/test/regress/pg_regress
if [ ! -x "$pg_regress" ]; then
  # Of a tree that was copied without it: the original's.
  pg_regress=$(dirname "$(pg_config --pgxs)")/../test/regress/pg_regress
fi

out=$(mktemp -d "${TMPDIR:-/tmp}/towline-regress.XXXXXX")
cp "$here/regress.conf" "$out/regress.conf"
# Servers that have this setting refuse plugins that are not in it; others do not start with it.
if "$bindir/postgres" --describe-config | grep -q '^output_plugin_libraries'; then
  echo "output_plugin_libraries = 'pgoutput, test_decoding, towline'" >>"$out/regress.conf"
fi

as_user=
if [ "$(id -u)" = 0 ]; then
  chown -R postgres:postgres "$out"
  as_user="setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=$out"
fi

# Tests that begin with "-- Needs server N." are left out on older ones.
major=$("$bindir/pg_config" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
while read -r line; do
  needs=$(sed -n '1s/^-- Needs server \([0-9]*\)\.$/\1/p' "$here/sql/${line#test: }.sql" 2>/dev/null || true)
  if [ "${needs:-0}" -le "$major" ]; then
    echo "$line"
  else
    echo "# left out, needs server $needs: ${line#test: }" >&2
  fi
done <"$here/schedule" >"$out/schedule"

# The port only names the socket; pg_regress takes the next one if it is in use.
port=$((20000 + $$ % 20000))
unset PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS PGCLIENTENCODING

run_suite() {  # PROGRAM INSTANCE options
  program=$1 instance=$2
  shift 2
  # shellcheck disable=SC2086
  (cd "$out" && $as_user "$program" --bindir="$bindir" --temp-instance="$out/$instance" --port=$port \
    --temp-config="$out/regress.conf" --encoding=UTF8 --no-locale --inputdir="$here" "$@")
}

status=0
run_suite "$pg_regress" instance --outputdir="$out" --schedule="$out/schedule" --dbname=towline_regress "$@" ||
  status=$?
# Sessions side by side, for what servers before 14 do not decode before its commit.
# The tree's program may be built for a newer C library than this machine's; the installed one will do.
isolation=
for program in "$(dirname "$pg_regress")/../isolation/pg_isolation_regress" \
  "$(dirname "$(pg_config --pgxs 2>/dev/null)")/../test/isolation/pg_isolation_regress"; do
  [ -n "$isolation" ] || ! "$program" --version >/dev/null 2>&1 || isolation=$program
done
[ -n "$isolation" ] || echo "# left out, no pg_isolation_regress runs here: specs" >&2
if [ $status -eq 0 ] && [ "$major" -ge 14 ] && [ -n "$isolation" ]; then
  mkdir "$out/isolation"
  [ -z "$as_user" ] || chown postgres:postgres "$out/isolation"
  run_suite "$isolation" isolation/instance --outputdir="$out/isolation" --schedule="$here/schedule_specs" \
    --dbname=towline_specs --load-extension=towline || status=$?
  [ ! -f "$out/isolation/regression.diffs" ] || cat "$out/isolation/regression.diffs" >>"$out/regression.diffs"
fi

if [ $status -eq 0 ]; then
  rm -rf "$out"
else
  echo "regression tests failed; logs, results and differences are kept in $out" >&2
  if [ -f "$out/regression.diffs" ]; then
    echo "--- $out/regression.diffs" >&2
    head -n "${TOWLINE_DIFF_LINES:-100}" "$out/regression.diffs" >&2
  fi
  # What a server with assertions or sanitizers says before it ends.
  find "$out" -name postmaster.log -exec cat {} + | grep -vE '^[0-9]{4}-[0-9]{2}-' |
    grep -E -A 30 'TRAP:|runtime error:|ERROR: AddressSanitizer' | head -n "${TOWLINE_DIFF_LINES:-100}" >&2
fi
exit $status

"""What the records of chaos (JSON lines) come to.

    PYTHONPATH=tests python3 -m chaos.summary docs/proof/chaos.jsonl
"""
import collections
import json
import statistics
import sys


def quantile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def text(records):
    def of(kind):
        return [record for record in records if record["kind"] == kind]
    faults, equal, ends, promotions = of("fault"), of("equal"), of("end"), of("promotion")
    verdicts = collections.Counter()
    for end in ends:
        verdicts.update({str(verdict): count for verdict, count in end["verify"].items()})
    lines = [f"{len(of('begin'))} seeds, {len(faults)} faults ({sum(fault['phase'] == 'copy' for fault in faults)} in the copy), "
             f"{len(equal)} comparisons of {sum(record['rows'] for record in equal)} rows, {len(of('failure'))} failures"]
    if ends:
        lines.append(f"most memory {max(end['peak_bytes'] for end in ends) >> 20} MiB, most descriptors "
                     f"{max(end['descriptors'] for end in ends)}, {sum(end['slot_looks'] for end in ends)} looks at slot and position, "
                     f"verify meanwhile: {verdicts['0']} equal, {verdicts['2']} undecided, {verdicts['1']} different")
    with_ddl = sum(fault.get("with_ddl", False) for fault in faults)
    if with_ddl:
        lines.append(f"{with_ddl} of the faults beside {sum(end['schema_changes'] for end in ends)} schema changes")
    if promotions:
        lines.append("promoted: " + ", ".join(f"{side} {count} times, of which {went_on} without --heal"
                                              for side, count, went_on in count_promotions(promotions)))
    for what, key in (("streams again", "streams_seconds"), ("has caught up", "caught_up_seconds")):
        times = [fault[key] for fault in faults if key in fault]
        if times:
            lines.append(f"{what} after median {statistics.median(times):.2f} s, p99 {quantile(times, 0.99):.2f} s, "
                         f"longest {max(times):.2f} s, of {len(times)} faults")
    return "\n".join(lines)


def count_promotions(promotions):
    """(side, how often, how often the task went on by itself)"""
    for side in sorted({record["side"] for record in promotions}):
        of_side = [record for record in promotions if record["side"] == side]
        yield side, len(of_side), sum(record["how"] == "went on" for record in of_side)


def by_fault(records):
    times, counts = collections.defaultdict(list), collections.Counter()
    for record in records:
        if record["kind"] == "fault":
            counts[record["fault"]] += 1
            if "streams_seconds" in record:
                times[record["fault"]].append(record["streams_seconds"])
    return "\n".join(f"| {name} | {count} | " + (f"{statistics.median(times[name]):.2f} | {max(times[name]):.2f} |" if times[name]
                                                 else "| |") for name, count in sorted(counts.items()))


def main():
    records = []
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            records += [json.loads(line) for line in file]
    print(text(records))
    print("\n| fault | times | streams again, median s | longest |\n|---|---|---|---|\n" + by_fault(records))


if __name__ == "__main__":
    main()

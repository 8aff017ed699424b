"""What a seed decides: options of the service, settings of the servers, tables, and how many faults when."""
import dataclasses
import random

from support.workload_tables import SHAPES

from .tables import Bulk, Ranged, random_table

MEGABYTE = 1 << 20
# Option in YAML to values of which one is taken.
OPTIONS = {
    "streaming": ("on", "on", "off"), "two_phase": ("off", "on"), "compression": ("none", "lz4", "zstd"),
    "ddl": ("off", "apply"), "origin": ("any", "any", "none"), "copy_planner": ("auto", "keys", "ctid"),
}
LIMITS = {
    "queue_bytes_max": ("64kB", "1MB", "64MB"), "batch_bytes_max": ("4kB", "64kB", "16MB"),
    "batch_rows_max": (1, 7, 500, 50000), "set_rows_min": (2, 8, 1000), "statement_bytes_max": ("16kB", "64MB"),
    "spool_memory_max": ("64kB", "64MB"), "batch_time_max": ("1ms", "500ms", "2s"),
    "durable_interval_max": ("10ms", "1s", "3s"), "status_interval": ("1s", "10s"), "copy_workers": (1, 2, 4),
    "copy_part_bytes": ("8kB", "64kB", "256MB"), "index_workers": (1, 3),
}
# Rows per second while the copy is under faults, so that there is a copy to hit.
COPY_ROWS_MAX = (1000, 2500)
SOURCE = {"logical_decoding_work_mem": ("64kB", "64kB", "64MB"), "wal_sender_timeout": ("5s", "60s"),
          "synchronous_commit": ("on", "off")}
PROMOTIONS = ("source", "source", "destination", "", "", "", "", "")


@dataclasses.dataclass
class Plan:
    """faults: how many in all, of them copy_faults while it copies. round_faults: so many before each comparison
    of the two databases. loses_slot: whether the slot is lost at the end. version: major, of both servers. ddl: the
    schema changes whatever the seed says. promotes: "source" or "destination", of which a standby takes the place
    behind the first comparison; "" neither, None what the seed says."""
    seed: int
    faults: int
    version: int
    ddl: bool = False
    promotes: str | None = None

    def __post_init__(self):
        dice = random.Random(f"plan {self.seed}")
        self.options = {name: dice.choice(values) for name, values in OPTIONS.items()}
        self.options["limits"] = {name: dice.choice(values) for name, values in LIMITS.items()}
        self.source_settings = {name: dice.choice(values) for name, values in SOURCE.items()}
        if self.ddl:
            self.options["ddl"] = "apply"
        if self.version < 15:
            self.options["two_phase"] = "off"
        if self.version < 14:  # without LZ4 and Zstandard
            self.options.update(streaming="off", compression="none")
        self.shapes = sorted(shape.name for shape in dice.sample(SHAPES, dice.randrange(6, len(SHAPES) + 1)))
        if self.version < 14:  # without multiranges
            self.shapes = [name for name in self.shapes if name != "types"]
        self.random_tables = [random_table(number, dice) for number in range(dice.randrange(2, 6))]
        self.clients, self.rate = dice.choice((2, 3)), dice.choice((15, 30, 60))
        if self.options["limits"]["batch_rows_max"] < 10:
            # Row by row the service is no match for these, and what is measured would be the queue before it.
            self.rate, self.shapes = 15, [name for name in self.shapes if name != "many"]
        self.prepared_share = dice.choice((0.04, 0.15))
        unfolded = [table.name for table in self.random_tables if dice.random() < 0.3]
        self.options["table"] = {f'load."{name}"': {"fold": "off"} for name in unfolded}
        self.copy_faults = min(self.faults // 2, dice.choice((2, 4, 6, 12)))
        self.copy_rows = dice.choice(COPY_ROWS_MAX)
        self.round_faults = dice.choice((5, 8))
        self.loses_slot = dice.random() < 0.3
        self.schema_pause = dice.choice((0.3, 1.0))
        drawn = random.Random(f"promotion {self.seed}").choice(PROMOTIONS)
        self.promotes = drawn if self.promotes is None else self.promotes
        if self.promotes:  # --heal refuses another
            self.options["origin"] = "any"

    @property
    def has_ddl(self):
        return self.options["ddl"] == "apply"

    @property
    def more_shapes(self):
        return [Ranged, Bulk, *self.random_tables]

    def configuration(self, is_slow):
        """Of the service, as YAML (of which JSON is a part)."""
        options = dict(self.options, limits=dict(self.options["limits"]))
        if is_slow:
            options["limits"]["copy_rows_max"] = self.copy_rows
        return options

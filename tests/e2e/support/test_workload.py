"""The load does what it says: every operation occurs, and a seed gives the same rows again."""
import pytest

from support import workload_tables
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload


@pytest.fixture(scope="module")
def server(module_clusters):
    return module_clusters("loaded", settings={"synchronous_commit": "off"})


def test_the_same_seed_gives_the_same_rows(server, seed):
    databases = [server.create_database(f"load{number}") for number in range(2)]
    for database in databases:
        # Without others no TRUNCATE deadlocks, so the runs are the same statement by statement.
        load = Workload(database.uri(), seed, clients=1)
        load.create()
        load.clients[0].trace = []
        load.run(transactions=150)
    # Times and identity values of rolled back transactions are the server's, not the seed's.
    columns = {"load.insert_only": ["client", "line"],
               "load.composite": ["client", "a", "b", "v"]}
    result = assert_equal(databases[0].uri(), databases[1].uri(), columns=columns)
    assert sum(result.rows.values()) > 100
    statements = " ".join(statement for statement, _ in load.clients[0].trace)
    for word in ("SAVEPOINT", "ROLLBACK TO", "RELEASE", "PREPARE TRANSACTION", "UPDATE", "DELETE"):
        assert word in statements
    for database in databases:
        database.drop()


def test_every_operation_of_every_shape_works(server):
    database = server.create_database("shapes")
    load = Workload(database.uri(), seed=1, clients=1)
    load.create()
    client = load.clients[0]
    client.connect()
    with client.connection.cursor() as cursor:
        for shape in client.shapes:
            for _ in range(3):
                for operation in shape.operations():
                    for statement, parameters in operation(0, client.random, client.keys[shape.name]):
                        client.execute(cursor, statement, parameters)
        client.connection.commit()
        for shape in client.shapes:
            if shape.keys_sql():
                cursor.execute(shape.keys_sql(), [0])
                assert {tuple(row) for row in cursor.fetchall()} == client.keys[shape.name], shape.name
    client.connection.close()
    assert len(client.shapes) == len(workload_tables.SHAPES)
    database.drop()


def test_clients_survive_a_crash_of_the_server(new_cluster, seed):
    cluster = new_cluster("crashing")
    database = cluster.create_database("d")
    load = Workload(database.uri(), seed, clients=2, survive=True).create()
    with load:
        for _ in range(2):
            before = load.transactions
            database.wait_for("SELECT count(*) > 0 FROM load.insert_only")
            cluster.restart("immediate")
            wait_until(lambda before=before: load.transactions > before + 10, 30, "the load to go on")
    assert sum(client.lost for client in load.clients) >= 2
    assert database.value("SELECT count(*) FROM pg_prepared_xacts") == 0

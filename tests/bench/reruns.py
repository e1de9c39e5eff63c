"""How long a request waits for its next run when its worker is killed in the middle, or its host vanishes:
frozen, so that its connections stay and nobody is told. One other worker is there to take over."""

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.bench.bare import INSTANT
from tests.bench.figures import Figure, at_most, median
from tests.bench.people import sending, sign_up
from tests.bench.processes import HUNGRY, model_server, new_database, working
from tests.fix_postgres import Cluster
from tests.fix_stack import Stack
from tests.part import Part

HOUSES = 3  # at the same time, each with a database of its own
KILLS = 3  # in each
CALL_SECONDS = 300.0  # nothing ends by itself
RUNNING_SECONDS = (0.0, 2.0)  # at any point between two renewals
GOAL_KILLED_P50, GOAL_KILLED_WORST = 6.0, 10.0
GOAL_VANISHED_WORST = 20.0
PATIENCE_SECONDS = 60.0
HOLDER = """
select split_part(w.name, ':', 2)::int from private.job j join private.worker w on w.id = j.worker_id
 where j.request_id = %s
"""
RUNS_AGAIN = """
select extract(epoch from claimed_at)::float8 from private.job
 where request_id = %s and state = 'running' and epoch = 2
"""
CANCEL = "select from private.cancel(%s)"


def measure(cluster: Cluster) -> Iterator[Figure]:
    with ThreadPoolExecutor() as threads:
        runs = list(threads.map(lambda number: in_a_house(cluster, number), range(HOUSES)))
    killed = [seconds for found, _ in runs for seconds in found]
    vanished = [seconds for _, seconds in runs]
    name = "from SIGKILL of a worker to the next run of its request"
    yield at_most(f"{name}, p50 of {len(killed)}", median(killed), "s", GOAL_KILLED_P50)
    yield at_most(f"{name}, worst", max(killed), "s", GOAL_KILLED_WORST)
    yield at_most(
        f"from a host's vanishing to the next run, worst of {len(vanished)}",
        max(vanished), "s", GOAL_VANISHED_WORST,
    )  # fmt: skip


def in_a_house(cluster: Cluster, number: int) -> tuple[list[float], float]:
    """Seconds after each kill, and after the vanishing of a host."""
    database = new_database(cluster, f"reruns_{number}")
    with (
        model_server(seconds=CALL_SECONDS) as url,
        working(database, url, slots=2) as stack,
        stack.second_worker() as second,
    ):
        killed = [until_run_again(stack, second, signal.SIGKILL) for _ in range(KILLS)]
        return killed, until_run_again(stack, second, signal.SIGSTOP)


def until_run_again(stack: Stack, second: Part, blow: signal.Signals) -> float:
    """Two sleeping workers, a request, and what happens to the one that runs it; two again afterwards."""
    stack.until(HUNGRY, 2)
    with sending(stack.database) as sender:
        request = sender.send(sign_up(stack.database, 1)[0], INSTANT).id
    (pid,) = stack.until(HOLDER, request)
    time.sleep(random.uniform(*RUNNING_SECONDS))
    victim = next(part for part in (stack.work, second) if part.pid == pid)
    struck_at = time.time()
    victim.send(blow)
    (again_at,) = stack.until(RUNS_AGAIN, request, within=PATIENCE_SECONDS)
    stack.query(CANCEL, request)
    victim.kill()
    victim.start()
    victim.wait_ready()
    return float(again_at - struck_at)

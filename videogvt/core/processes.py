"""The processes of a run: who they are, and that they begin and end together. jax is imported where there are many.

One process per host drives all of the host's devices. They meet at the coordinator, which is process 0. Where nothing
names one, the run is a single process and nothing here does anything.
"""

import contextlib
import itertools
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from videogvt.core.mistakes import EXIT_CODE, is_mistake, message

PORT = 8476
"""Of the coordinator, where the environment names its host alone."""

WAIT_S = 7 * 24 * 3600
"""How long processes wait for the first one; when that is gone, they end anyway."""

_passed = itertools.count()  # the same contexts in the same order in all processes

_LOST = re.compile(r"gloo|nccl|heartbeat|coordination.?service|connection (reset|closed)|socket closed", re.IGNORECASE)
"""What errors of a collective operation say when another process is gone."""


class Processes(NamedTuple):
    """The processes of a run as one of them sees them.

    Attributes:
      coordinator: "host:port" of process 0; None where jax asks the cluster itself, for count and index as well.
      count: how many.
      index: this one.
      told_by: what named them, for messages.
    """

    coordinator: str | None
    count: int | None
    index: int | None
    told_by: str


def find_processes(
    coordinator: str | None = None, count: int | None = None, index: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Processes | None:
    """The processes of this run, or None for a single one. The first of these that speaks decides:

    1. the arguments (the flags of ``run.py``); the coordinator "auto" leaves all three to jax
    2. $JAX_COORDINATOR_ADDRESS, $JAX_NUM_PROCESSES and $JAX_PROCESS_ID, the last by default $JOB_COMPLETION_INDEX,
       which Kubernetes sets in the pods of an indexed Job
    3. a TPU slice of several hosts ($TPU_WORKER_HOSTNAMES, $TPU_PROCESS_ADDRESSES) or several slices
       ($MEGASCALE_NUM_SLICES), which jax asks
    4. SkyPilot: $SKYPILOT_NODE_IPS, $SKYPILOT_NODE_RANK
    5. a step of Slurm with several tasks (``srun``), or Open MPI, which jax asks

    Raises:
      ValueError: one of the three is missing or is no whole number in range.
    """
    if any(value is not None for value in (coordinator, count, index)):
        return _checked(coordinator, count, index, "--coordinator, --num_processes and --process_id")
    if "JAX_COORDINATOR_ADDRESS" in environment:
        return _checked(
            environment["JAX_COORDINATOR_ADDRESS"], _number(environment, "JAX_NUM_PROCESSES"),
            _number(environment, "JAX_PROCESS_ID", "JOB_COMPLETION_INDEX"),
            "$JAX_COORDINATOR_ADDRESS, $JAX_NUM_PROCESSES and $JAX_PROCESS_ID",
        )
    workers = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    if "," in workers or (_number(environment, "MEGASCALE_NUM_SLICES") or 1) > 1:
        return Processes(None, None, None, "the TPU slice")
    hosts = environment.get("SKYPILOT_NODE_IPS", "").split()
    if len(hosts) > 1:
        index = _number(environment, "SKYPILOT_NODE_RANK")
        return _checked(f"{hosts[0]}:{PORT}", len(hosts), index, "$SKYPILOT_NODE_IPS and $SKYPILOT_NODE_RANK")
    for name, cluster in (("SLURM_STEP_NUM_TASKS", "Slurm"), ("OMPI_COMM_WORLD_SIZE", "Open MPI")):
        if (_number(environment, name) or 1) > 1:
            return Processes(None, None, None, cluster)
    return None


def start_distributed(
    coordinator: str | None = None, count: int | None = None, index: int | None = None, timeout_s: int = 600
) -> int:
    """Joins the processes of the run; call it before anything asks jax for devices.

    Args:
      coordinator, count, index: see ``find_processes``.
      timeout_s: seconds to wait for the others to start.

    Returns:
      How many there are.

    Raises:
      TimeoutError: the coordinator does not answer.
    """
    found = find_processes(coordinator, count, index)
    if found is None:
        return 1
    import jax

    limits = {"initialization_timeout": timeout_s, "shutdown_timeout_seconds": 900}  # others wait while 0 reports
    if found.coordinator is None:
        _say(f"Joining the processes that {found.told_by} names; waiting up to {timeout_s} s for all of them.")
        jax.distributed.initialize(**limits)
        return jax.process_count()
    _say(
        f"Process {found.index} of {found.count}, coordinator {found.coordinator}, by {found.told_by}; waiting up to "
        f"{timeout_s} s for all of them."
    )
    if found.index > 0:
        _wait_for(found, timeout_s)
    jax.distributed.initialize(found.coordinator, found.count, found.index, **limits)
    return found.count


@contextlib.contextmanager
def together(
    coordinator: str | None = None, count: int | None = None, index: int | None = None, timeout_s: int = 600
) -> Iterator[None]:
    """A context in which the processes of a run are joined and fail as one; see ``start_distributed``.

    A process of many that meets an error says so (a mistake of the user in one message) and ends at once, without
    waiting for the others, which then end too: a collective operation that will never be answered is an error to them,
    at the latest after 100 s without a sign of life. The scheduler may then start all of them again, and they go on
    from the newest checkpoint.
    """
    if start_distributed(coordinator, count, index, timeout_s) == 1:
        yield
        return
    try:
        yield
    except Exception as error:
        import jax

        mistake = is_mistake(error)
        if mistake:
            _say(f"Error: {message(error)}")
        else:
            traceback.print_exc()
        lost = _LOST.search(f"{type(error).__name__}: {error}")
        reason = "it lost another process, whose own output says why" if lost else "of the error above"
        _say(
            f"Process {jax.process_index()} of {jax.process_count()} ends because {reason}. All processes of the run "
            "have to be started again; the same command goes on from the newest finished checkpoint."
        )
        sys.stdout.flush()
        os._exit(EXIT_CODE if mistake else 1)  # an ordinary exit would wait for the others


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """A context that process 0 enters alone; when it has left, all others enter it together.

    For what one process makes on a disk that all of them share (a data set, say) and the others then find there. Where
    they do not share it, each makes its own, after process 0. Nothing inside may wait for another process.
    """
    import jax

    if jax.process_count() == 1:
        yield
        return
    from jax._src import distributed  # jax's own barrier is a collective operation, which may give up on a long build

    key = f"videogvt/first_alone/{next(_passed)}"
    if jax.process_index() > 0:
        distributed.global_state.client.blocking_key_value_get(key, 1000 * WAIT_S)
    yield
    if jax.process_index() == 0:
        distributed.global_state.client.key_value_set(key, "done")


def _checked(coordinator: str | None, count: int | None, index: int | None, told_by: str) -> Processes:
    found = f"coordinator {coordinator!r}, {count} processes, this one {index}"
    if coordinator == "auto" and count is None:
        return Processes(None, None, None, "the cluster")
    if not coordinator or count is None or index is None:
        raise ValueError(f"Found {found}; give all three by {told_by}, or --coordinator=auto where the cluster tells.")
    if not re.fullmatch(r"\S+:\d+", coordinator):
        raise ValueError(f"The coordinator is {coordinator!r}; expected host:port, such as {coordinator}:{PORT}.")
    if count < 1 or not 0 <= index < count:
        raise ValueError(f"Found {found}; processes count from 0 to one less than their number.")
    return Processes(coordinator, count, index, told_by)


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = environment.get(name)
        if text is not None and not text.isdecimal():
            raise ValueError(f"${name} is {text!r}; expected a whole number.")
        if text is not None:
            return int(text)
    return None


def _wait_for(found: Processes, timeout_s: float) -> None:
    """Waits until the coordinator listens: jax ends the whole process without an exception when it does not."""
    host, port = found.coordinator.rsplit(":", 1)
    end = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"Process {found.index} of {found.count} found no coordinator at {found.coordinator} in "
                    f"{timeout_s} s ({error}). Start process 0 there, open the port between the hosts, or correct the "
                    f"address in {found.told_by}."
                ) from error
            time.sleep(0.2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

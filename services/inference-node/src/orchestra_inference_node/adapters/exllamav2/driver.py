"""The thread that the generator lives in. It alone touches it: all others send orders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import structlog

from orchestra_errors import OrchestraError, Unavailable, WorkerLost
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Output

RETRY_S = 1.0
log = structlog.get_logger()


class Run(Protocol):
    """One job. `open` and `read` are called in the thread."""

    box: Mailbox
    ended: bool
    """Nothing more follows; what still runs of it is to be given up."""

    def open(self) -> Any:
        """The generator's job. Raises an error of ours for what is wrong with it."""
        ...

    def read(self, said: Mapping[str, Any]) -> list[Output]:
        """What a result of the job says."""
        ...


class Driver:
    """Runs jobs until it is closed. Every run ends: as it reads its end, in an error, or cancelled."""

    def __init__(self, model: str, make_generator: Callable[[], Any], lost: Callable[[], None]) -> None:
        """`make_generator` also replaces one that failed. `lost` is called in the thread when that fails, and
        the runs know: this process cannot compute any more."""
        self._model = model
        self._make_generator = make_generator
        self._lost = lost
        self._generator = make_generator()
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._jobs: dict[Run, Any] = {}
        self._gone: OrchestraError | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="generator", daemon=True)
        self._thread.start()

    def begin(self, run: Run) -> None:
        """Queue a run; what comes of it is put into its box."""
        if not self._send(lambda: self._begin(run)):
            run.box.put(self._gone or WorkerLost(self._model, "it was closed"))

    def cancel(self, run: Run) -> Future[None]:
        """Done once nothing of the run is left in the generator."""
        done: Future[None] = Future()
        # whoever waits may stop waiting; this is done all the same
        done.set_running_or_notify_cancel()

        def cancel() -> None:
            self._drop(run)
            done.set_result(None)

        if not self._send(cancel):
            done.set_result(None)
        return done

    def close(self) -> None:
        """Fail what runs, let go of the generator, end the thread; returns when that is done."""
        self._send(lambda: self._leave(WorkerLost(self._model, "it was closed")))
        self._thread.join()

    def _send(self, order: Callable[[], None]) -> bool:
        with self._lock:
            if self._gone is None:
                self._orders.put(order)
            return self._gone is None

    def _work(self) -> None:
        while self._gone is None:
            self._take_orders()
            if self._jobs:
                self._step()
        # what was sent before the end was told
        while not self._orders.empty():
            self._orders.get()()

    def _take_orders(self) -> None:
        """All that wait; the next one where there is nothing else to do."""
        if not self._jobs:
            self._orders.get()()
        try:
            while True:
                self._orders.get_nowait()()
        except Empty:
            return

    def _begin(self, run: Run) -> None:
        if self._gone is not None:
            run.box.put(self._gone)
            return
        try:
            job = run.open()
            self._generator.enqueue(job)
        except Exception as error:
            run.ended = True
            run.box.put(self._told(error))
        else:
            job.identifier = run
            self._jobs[run] = job

    def _step(self) -> None:
        try:
            said = self._generator.iterate()
        except Exception as error:
            self._recover(error)
            return
        for one in said:
            run: Run = one["identifier"]
            if run not in self._jobs:
                continue
            try:
                outputs = run.read(one)
            except Exception as error:
                self._fail(run, self._told(error))
                continue
            if run.ended:
                # first the slot, then the word that it is free
                self._drop(run)
            for output in outputs:
                run.box.put(output)

    def _drop(self, run: Run) -> None:
        job = self._jobs.pop(run, None)
        if job is None:
            return
        try:
            self._generator.cancel(job)
        except Exception as error:
            self._recover(error)

    def _fail(self, run: Run, error: Exception) -> None:
        self._drop(run)
        run.ended = True
        run.box.put(error)

    def _told(self, error: Exception) -> OrchestraError:
        if isinstance(error, OrchestraError):
            return error
        log.error("a job failed", model=self._model, exc_info=error)
        return Unavailable(f"the engine of {self._model} ({_why(error)})", RETRY_S)

    def _recover(self, error: Exception) -> None:
        """A step failed: its page table can no longer be trusted. Those whose prompt was begun fail, those
        that wait are given to a new generator."""
        failed = self._told(error)
        waiting = list(self._generator.pending_jobs)
        for run in [run for run, job in self._jobs.items() if job not in waiting]:
            del self._jobs[run]
            run.ended = True
            run.box.put(failed)
        # with its frames it would hold what the step had computed
        error.__traceback__ = None
        self._let_go()
        try:
            self._generator = self._make_generator()
            for job in waiting:
                self._generator.enqueue(job)
        except Exception as second:
            log.error("the generator cannot be made again", model=self._model, exc_info=second)
            self._leave(WorkerLost(self._model, _why(second), RETRY_S))
            self._lost()
            return
        log.warning("generator made again", model=self._model, failed=_why(error), waiting=len(waiting))

    def _leave(self, error: OrchestraError) -> None:
        with self._lock:
            self._gone = error
        for run in list(self._jobs):
            self._jobs.pop(run)
            run.ended = True
            run.box.put(error)
        self._let_go()

    def _let_go(self) -> None:
        """Of the generator; its own threads would outlive it."""
        if self._generator is None:
            return
        for pool in (self._generator.sampling_pool, self._generator.filter_pool):
            pool.shutdown(wait=False)
        self._generator = None


def _why(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

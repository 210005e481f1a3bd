"""The queue and its leases, with processes and clocks that misbehave."""

import errno
import json
import multiprocessing
import os
import threading
import time

import pytest

from sae.common.errors import UserError
from sae.common.files import write_json
from sae.workspace import Workspace
from sae.workspace.child import _in_a_line
from sae.workspace.jobs import LEASE_SECONDS, owner_name
from sae.workspace.supervisor import _count_attempt


@pytest.fixture
def jobs(tmp_path):
    return Workspace(tmp_path / "w").jobs


def test_a_job_runs_once_and_in_order(jobs):
    second = jobs.enqueue("experiment", "b", {"n": 2}, priority=10)
    first = jobs.enqueue("experiment", "a", {"n": 1})
    assert [job.name for job in jobs.active()] == ["a", "b"]
    assert jobs.claim("me", "cpu").id == first.id
    assert jobs.claim("me", "cpu").id == second.id
    assert jobs.claim("me", "cpu") is None
    jobs.finish(first.id, "done")
    assert jobs.get(first.id).status == "done" and jobs.get(first.id).finished is not None


def test_a_job_for_another_device_is_left(jobs):
    jobs.enqueue("experiment", "a", {}, device="cuda:0")
    assert jobs.claim("me", "cpu") is None
    assert jobs.claim("me", "cuda:0").name == "a"


def test_the_same_spec_is_not_doubled_and_another_is_refused(jobs):
    first = jobs.enqueue("experiment", "a", {"n": 1})
    assert jobs.enqueue("experiment", "a", {"n": 1}).id == first.id
    with pytest.raises(UserError, match="already under way"):
        jobs.enqueue("experiment", "a", {"n": 2})
    jobs.cancel(first.id)
    assert jobs.enqueue("experiment", "a", {"n": 2}).id != first.id


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 81, "a\nb"])
def test_names_with_a_path_in_them_are_refused(jobs, name):
    with pytest.raises(UserError, match="can't be used"):
        jobs.enqueue("experiment", name, {})


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_told(jobs):
    queued = jobs.enqueue("experiment", "a", {})
    jobs.cancel(queued.id)
    assert jobs.get(queued.id).status == "cancelled"
    running = jobs.enqueue("experiment", "b", {})
    jobs.acquire("cpu", owner_name())
    jobs.claim(owner_name(), "cpu")
    jobs.cancel(running.id)
    assert jobs.get(running.id).status == "running" and jobs.get(running.id).cancel


def test_a_lease_has_one_owner_until_it_dies(jobs):
    mine = owner_name()
    assert jobs.acquire("cpu", mine)
    assert jobs.acquire("cpu", mine)
    assert not jobs.acquire("cpu", "elsewhere:1:0.0")
    assert jobs.acquire("cuda:0", "elsewhere:1:0.0")
    assert sorted(jobs.supervisors()) == ["cpu", "cuda:0"]
    jobs.release("cpu", mine)
    assert jobs.acquire("cpu", "elsewhere:1:0.0")


def test_a_lease_of_a_dead_process_is_free(jobs):
    host, pid, started = owner_name().rsplit(":", 2)
    assert jobs.acquire("cpu", f"{host}:{pid}:{float(started) - 100:.2f}")  # the pid lives, but is another process now
    assert jobs.acquire("cpu", owner_name())


def test_a_lease_of_another_host_ends_with_its_heartbeat(jobs):
    assert jobs.acquire("cpu", "elsewhere:1:0.0")
    with jobs.workspace.database.write() as connection:
        connection.execute("UPDATE leases SET heartbeat = ?", (time.time() - LEASE_SECONDS - 1,))
    assert jobs.acquire("cpu", owner_name())


def test_jobs_of_a_dead_supervisor_are_queued_again_and_cancelled_ones_end(jobs):
    for name in ("a", "b", "c"):
        jobs.enqueue("experiment", name, {})
    lost, stopped = jobs.claim("gone:1:0.0", "cpu"), jobs.claim("gone:1:0.0", "cpu")
    jobs.acquire("cuda:0", "gone:1:0.0")
    jobs.cancel(stopped.id)
    jobs.release("cuda:0", "gone:1:0.0")
    jobs.acquire("cpu", owner_name())
    held = jobs.claim(owner_name(), "cpu")
    assert sorted(jobs.recover()) == sorted([lost.id, stopped.id])
    assert [jobs.get(j.id).status for j in (lost, stopped, held)] == ["queued", "cancelled", "running"]


def test_a_job_whose_supervisor_is_gone_is_cancelled_at_once(jobs):
    lost = jobs.enqueue("capture", "name", {"layers": [1]})
    jobs.claim("gone:1:0.0", "cpu")
    jobs.cancel(lost.id)
    assert jobs.get(lost.id).status == "cancelled"
    assert jobs.enqueue("capture", "name", {"layers": [2]}).status == "queued"


def _claim_all(root, names):
    jobs = Workspace(root).jobs
    while (job := jobs.claim(f"host:{os.getpid()}:0", "cpu")) is not None:
        names.append((job.id, os.getpid()))
        time.sleep(0.002)


def test_two_processes_never_take_the_same_job(tmp_path):
    jobs = Workspace(tmp_path / "w").jobs
    for number in range(30):
        jobs.enqueue("experiment", f"job{number}", {})
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        names = manager.list()
        workers = [context.Process(target=_claim_all, args=(tmp_path / "w", names)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        taken = [job for job, _ in names]
    assert len(taken) == len(set(taken)) == 30


def test_threads_share_a_workspace(tmp_path):
    workspace = Workspace(tmp_path / "w")
    errors = []

    def work(number):
        try:
            workspace.jobs.enqueue("experiment", f"t{number}", {})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(workspace.jobs.active()) == 12


def test_the_index_is_made_again_from_the_files(jobs):
    from sae.workspace.rebuild import rebuild_index

    done, waiting = jobs.enqueue("experiment", "a", {"x": 1}), jobs.enqueue("capture", "b", {"y": 2})
    jobs.claim("gone:1:0.0", "cpu")
    jobs.finish(done.id, "failed", "no rows")
    database = jobs.workspace.root / "workspace.db"
    jobs.workspace.database.close()
    database.write_bytes(b"this is not a database" * 100)
    fresh = Workspace(jobs.workspace.root)
    with pytest.raises(UserError, match="workspace rebuild"):
        fresh.jobs.all()
    assert rebuild_index(fresh)["jobs"] == 2
    again = {job.name: job for job in fresh.jobs.all()}
    assert (again["a"].status, again["a"].error, again["a"].spec) == ("failed", "no rows", {"x": 1})
    assert (again["b"].status, again["b"].id) == ("queued", waiting.id)


def test_progress_is_empty_before_the_first_word_and_survives_nonsense(jobs):
    job = jobs.enqueue("experiment", "a", {})
    assert job.progress() == {} and job.log() == ""
    (job.folder / "progress.json").write_text("{broken")
    assert job.progress() == {}
    (job.folder / "progress.json").write_text(json.dumps({"stage": "runs", "done": 1, "total": 2}))
    assert job.progress()["done"] == 1


def test_attempts_count_from_where_a_job_got_further(jobs):
    job = jobs.enqueue("experiment", "a", {})
    counts = []
    for stage, done in [("", 0), ("", 0), ("training", 10), ("training", 10), ("training", 11), ("measuring", 2)]:
        if stage:
            write_json(job.folder / "progress.json", {"stage": stage, "done": done, "total": 100})
        counts.append(_count_attempt(job))
    assert counts == [1, 2, 1, 2, 1, 1]
    write_json(job.folder / "progress.json", {"stage": "training", "done": 5, "total": 100})
    assert [_count_attempt(job) for _ in range(2)] == [2, 3]
    assert _count_attempt(job, reset=True) == 0 and _count_attempt(job) == 1


def test_a_full_disk_is_called_so_whoever_meets_it():
    ours = OSError(errno.ENOSPC, "No space left on device")
    theirs = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert all(_in_a_line(error).startswith("no space left on the disk of ") for error in (ours, theirs))
    assert _in_a_line(ValueError("first\nsecond")) == "ValueError: first"
    assert _in_a_line(ValueError()) == "ValueError: "

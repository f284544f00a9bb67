import http.server
import re
import threading
import time
from multiprocessing import get_context

import pytest
from mlflow.tracking import MlflowClient

from hcexp.tracking import open_store
from hcexp.tracking.store import public

FREE_PORT = 9  # "discard": nothing listens there


def test_the_store_is_the_argument_or_of_the_environment_or_beside_the_runs(runs, uri, monkeypatch, tmp_path):
    assert open_store(None, runs) == uri
    experiment = MlflowClient(uri).get_experiment_by_name("hcexp")
    assert experiment.artifact_location == str(runs / "artifacts")
    assert open_store(None, runs) == uri, "opening again changes nothing"
    assert MlflowClient(uri).get_experiment_by_name("hcexp").experiment_id == experiment.experiment_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert open_store(None, tmp_path) == uri and not list(tmp_path.iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///nowhere")
    assert open_store(uri, runs) == uri


def test_what_is_no_store_is_refused(tmp_path):
    for uris, what in (
        (("mlruns", "./mlruns", "file:///data/mlruns"), "{}.*file store.*sqlite:///"),
        (("sqlite://", "sqlite:///:memory:"), "gone when the run ends"),
        (("ftp://host/store",), "not supported"),
    ):
        for uri in uris:
            with pytest.raises(ValueError, match=what.format(re.escape(uri))) as error:
                open_store(uri, tmp_path)
            assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_an_unreachable_server_is_named_at_once_without_its_password(scheme, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    start = time.monotonic()
    shown = f"{scheme}://127.0.0.1:{FREE_PORT}/store"
    with pytest.raises(ConnectionError, match=rf"{re.escape(shown)}[^\n]*tracking=none[^\n]*$") as error:
        open_store(shown.replace("://", "://ada:s3cret@"), tmp_path)
    assert time.monotonic() - start < 10, "MLflow would try for minutes"
    assert "ada" not in str(error.value) and "s3cret" not in str(error.value)


def test_any_answer_is_an_answer(tmp_path, monkeypatch):
    class Forbidden(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        do_HEAD, log_message = do_GET, lambda *_: None

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Forbidden) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ConnectionError, match="cannot be used: .*403") as error:
            open_store(f"http://ada:s3cret@127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
    assert "does not answer" not in str(error.value) and "s3cret" not in str(error.value)


def test_only_one_at_a_time_makes_the_store(tmp_path, monkeypatch):
    """Making the tables takes seconds, and two at it both fail."""
    at_it, most = [], []

    def open_experiment(*_, **__):
        at_it.append(None)
        most.append(len(at_it))
        time.sleep(0.1)
        at_it.pop()

    monkeypatch.setattr("hcexp.tracking.store._open_experiment", open_experiment)
    threads = [threading.Thread(target=open_store, args=(None, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


@pytest.mark.slow
def test_two_processes_make_one_store(tmp_path):
    workers = [get_context("fork").Process(target=open_store, args=(None, tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert sorted(e.name for e in client.search_experiments()) == ["Default", "hcexp"]


def test_what_a_message_shows_of_an_address_is_no_secret():
    shown = {
        "http://ada:s3cret@host:5000/a?token=x#y": "http://host:5000/a",
        "postgresql://ada:p@ss@host/db": "postgresql://host/db",
        "sqlite:////data/mlflow.db": "sqlite:////data/mlflow.db",
        "https://host": "https://host",
        "http://ada:s3/cr?et@host/a": "http://host/a",
    }
    assert {uri: public(uri) for uri in shown} == shown

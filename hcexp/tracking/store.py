"""Where runs are recorded: the MLflow store, ready before training starts or refused in one line."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}  # scheme: default port
CONNECT_SECONDS = 5
# MLflow's own are 7 times and 120 s: minutes, with the pauses between. One more is for a connection that was closed.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{CONNECT_SECONDS}"}


def open_store(uri: str | None, runs: str | Path, experiment: str = "hcexp") -> str:
    """The tracking URI to use, its store reachable and the experiment in it, also if workers start together.

    Args:
        uri: `sqlite:///…`, `http(s)://…`, `postgresql://…`, `mysql://…`, `mssql://…` or `databricks…`; None for that of
            the environment, `MLFLOW_TRACKING_URI`, or else `mlflow.db` in `runs`, with `artifacts` beside it.
        runs: folder of the runs; made if it is used.
        experiment: name of the MLflow experiment; made if it is not there.

    Raises:
        ValueError: for a plain path or `file:` (MLflow 3 no longer writes these), or an unknown scheme.
        ConnectionError: if a server does not answer within seconds, or refuses the experiment.
    """
    uri = store_uri(uri, runs)
    scheme = urlsplit(uri).scheme.partition("+")[0]  # postgresql+psycopg2 names a driver
    if scheme == "sqlite":
        _open_sqlite(uri, experiment)
    elif scheme in ("http", "https", "databricks", *DATABASES) or uri == "databricks":
        require_answer(uri)
        _open_experiment(uri, experiment, artifacts=None)  # a server knows where its artifacts go
    else:
        files = scheme in ("", "file")
        what = "is a file store, which MLflow 3 no longer writes" if files else "is not supported"
        raise ValueError(f"tracking.uri={public(uri)!r} {what}: use sqlite:///PATH or http(s)://HOST")
    return uri


def store_uri(uri: str | None, runs: str | Path) -> str:
    """The tracking URI to use: `uri`, or that of the environment, or the database beside the runs."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(runs).absolute() / 'mlflow.db'}"


def public(uri: str) -> str:
    """The URI without user, password, query and fragment, fit for a message."""
    scheme, mark, rest = uri.partition("://")
    rest = re.split(r"[?#]", rest.rpartition("@")[2])[0]
    return scheme + mark + rest


def one_line(error: Exception, uri: str) -> str:
    """The first line of what a store raised, fit for a message."""
    line = str(error).strip().partition("\n")[0].replace(uri, public(uri))
    return line[:200] or type(error).__name__


@contextmanager
def impatient() -> Iterator[None]:
    """Calls to a server give up within seconds in here, unless the environment says otherwise."""
    missing = IMPATIENT.keys() - os.environ.keys()
    os.environ.update({name: IMPATIENT[name] for name in missing})
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _open_sqlite(uri: str, experiment: str) -> None:
    database = Path(urlsplit(uri).path.removeprefix("/"))  # sqlite:///relative, sqlite:////absolute
    if database.name in ("", ":memory:"):
        raise ValueError(f"tracking.uri={uri!r} is gone when the run ends: use sqlite:///PATH")
    database.parent.mkdir(parents=True, exist_ok=True)
    # Creating the tables takes seconds, and two processes at it both fail.
    with FileLock(f"{database}.lock"):
        _open_experiment(uri, experiment, artifacts=database.absolute().parent / "artifacts")


def _open_experiment(uri: str, experiment: str, artifacts: Path | None) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        with impatient():
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(experiment)
            if found is None:
                try:
                    client.create_experiment(experiment, artifact_location=str(artifacts) if artifacts else None)
                except MlflowException as error:  # another worker was faster
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
    except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
        raise ConnectionError(f"MLflow store {public(uri)} cannot be used: {one_line(error, uri)}") from error
    if found is not None and found.lifecycle_stage == "deleted":
        raise ValueError(f"tracking.experiment={experiment!r} is deleted in {public(uri)}: choose another")


def require_answer(uri: str) -> None:
    """Ask a server whether it is there, before MLflow and SQLAlchemy go on trying for minutes.

    Raises ConnectionError, in one line, if it does not answer within seconds; never for a file.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    try:
        if scheme in ("http", "https"):
            import requests  # MLflow's own client, so that proxies and certificates are the same

            requests.head(public(uri), timeout=CONNECT_SECONDS, allow_redirects=False)
        elif scheme in DATABASES:
            parts = urlsplit(uri)
            address = (parts.hostname or "localhost", parts.port or DATABASES[scheme])
            socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError as error:  # requests' exceptions are OSErrors
        raise ConnectionError(
            f"MLflow server {public(uri)} does not answer ({_reason(error)}): start it, correct "
            "tracking.uri or MLFLOW_TRACKING_URI, or train with tracking=none"
        ) from error


def _reason(error: OSError) -> str:
    text = str(error).lower()
    reasons = {
        "refused": "connection refused",
        "timed out": f"no answer in {CONNECT_SECONDS} s",
        "certificate": "its certificate is not trusted",
        "resolve": "unknown host",
        "name or service": "unknown host",
    }
    return next((reason for mark, reason in reasons.items() if mark in text), type(error).__name__)

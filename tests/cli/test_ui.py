from types import SimpleNamespace

from hcexp.cli import ui


def test_the_pages_are_served_on_the_loopback_address_alone(hcexp, minute, tracked, store_uri, monkeypatch):
    calls = []
    run = lambda command, env: (calls.append((command, env)), SimpleNamespace(returncode=0))[1]  # noqa: E731
    monkeypatch.setattr(ui, "subprocess", SimpleNamespace(run=run))
    status, out, _ = hcexp("ui", "--port", "5012", *minute, *tracked)
    assert status == 0 and "http://127.0.0.1:5012" in out
    ((command, environment),) = calls
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5012"
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store_uri and store_uri not in command

"""Serve MLflow's pages over the recorded runs, on the loopback address alone.

example:
  hcexp ui
  hcexp ui --port 5001 paths.runs=elsewhere/runs
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from hcexp.cli.arguments import add_overrides, parse, parser, whole


def main(arguments: Sequence[str]) -> int:
    options = parser("ui", __doc__)
    options.add_argument("--port", type=whole, default=5000)
    add_overrides(options)
    chosen = parse(options, arguments)
    from hcexp.configuration import compose
    from hcexp.tracking import open_store, public

    config = compose(chosen.overrides)
    uri = open_store(config.tracking.uri, config.paths.runs, config.tracking.experiment)
    if uri.startswith("http"):
        print(f"the runs are on the server {public(uri)}")
        return 0
    print(f"http://127.0.0.1:{chosen.port} shows the runs; stop with Ctrl-C", flush=True)
    serve = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(chosen.port)]
    # One worker and no job runner: a third of the memory. The store may have a password, which `ps` would show.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": uri}
    return subprocess.run([*serve, "--workers", "1"], env=environment).returncode

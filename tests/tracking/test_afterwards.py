import math

import pytest

from hcexp.tracking import add_metrics


@pytest.mark.filterwarnings("error::UserWarning")
def test_metrics_come_to_a_run_whose_status_stays_and_a_store_that_refuses_is_warned_of(begin, client, uri, tmp_path):
    logger = begin()
    logger.fail(RuntimeError("broken"))
    many = {f"v3/set {i}/loss": float(i) for i in range(1000)}
    assert add_metrics(uri, logger.run_id, {**many, "v3/größe/perplexity": math.inf}, 7)
    run = client.get_run(logger.run_id)
    assert run.info.status == "FAILED" and len(run.data.metrics) == 1001
    assert [(m.step, m.value) for m in client.get_metric_history(logger.run_id, "v3/set 999/loss")] == [(7, 999.0)]
    assert math.isnan(run.data.metrics["v3/gr_e/perplexity"])

    assert not add_metrics(uri, "", {"a": 1.0}, 1), "it was never tracked"
    with pytest.warns(UserWarning, match=r"mlflow.db: the scores are not recorded there \(.*other"):
        assert not add_metrics(uri, "other", {"a": 1.0}, 1)
    with pytest.warns(UserWarning, match=r"none.db: the scores are not recorded there \(there is no such file\)"):
        assert not add_metrics(f"sqlite:///{tmp_path}/none.db", logger.run_id, {"a": 1.0}, 1)
    assert not (tmp_path / "none.db").exists()
    with pytest.warns(UserWarning, match="http://127.0.0.1:9: the scores are not recorded there") as said:
        assert not add_metrics("http://me:secret@127.0.0.1:9", logger.run_id, {"a": 1.0}, 1)
    assert "secret" not in str(said[0].message)

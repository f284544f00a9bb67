from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

import hcexp
from hcexp.tracking import BufferedMLFlowLogger, NoTracking

CONF = Path(hcexp.__file__).parents[1] / "conf" / "tracking"


def test_mlflow(runs):
    config = OmegaConf.load(CONF / "mlflow.yaml")
    logger = instantiate(config, runs=runs, run_name="a run", tags={"row": "DHC"})
    assert isinstance(logger, BufferedMLFlowLogger)
    run = logger.experiment.get_run(logger.run_id)
    assert run.info.run_name == "a run" and run.data.tags["row"] == "DHC"


def test_none(tmp_path):
    config = OmegaConf.load(CONF / "none.yaml")
    assert isinstance(instantiate(config, runs=tmp_path, run_name="a run"), NoTracking)

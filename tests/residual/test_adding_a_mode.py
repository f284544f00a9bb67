"""The README's guide: a mode of one's own is one file and one YAML, in a package of one's own."""

import re
import sys
from pathlib import Path

import pytest
import torch
from hydra.errors import MissingConfigException

from hcexp.configuration import compose
from tests.registered import residual
from tests.residual import test_stream, test_unfolding
from tests.residual.conftest import NORMS

README = Path(__file__).parents[2] / "README.md"
MODE = ("hydra.searchpath=[pkg://my_modes.conf]", "residual=re_zero")


@pytest.fixture
def my_modes(tmp_path, monkeypatch):
    """The guide's two files, where the guide puts them."""
    guide = README.read_text().partition("## Adding a residual mode")[2].partition("\n## ")[0]
    (code,), (choice,) = (re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL) for kind in ("python", "yaml"))
    package = tmp_path / "my_modes"
    (package / "conf" / "residual").mkdir(parents=True)
    for folder in (package, package / "conf"):
        (folder / "__init__.py").touch()
    (package / "re_zero.py").write_text(code)
    (package / "conf" / "residual" / "re_zero.yaml").write_text(choice)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HCEXP_TRUST", "my_modes")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_modes"]:
        del sys.modules[name]


def test_it_trains(my_modes, make_run, trained):
    run = make_run(*MODE)
    result, plain = run.train(), trained.pre_norm.result()
    assert result["state"] == "finished" and result["parameters"] == plain["parameters"] + 4
    assert result["metrics"]["local/mean/loss"] != plain["metrics"]["local/mean/loss"]
    assert all(connection.alpha.item() != 0 for connection in run.model.stream.connections)


def test_it_holds_to_what_every_mode_must_and_is_caught_where_it_states_what_it_is_not(my_modes, monkeypatch):
    from my_modes.re_zero import ReZeroConnection

    mode = residual(*MODE)
    for norm in NORMS.values():
        test_stream.test_own_code_equals_the_plain_operator(mode, norm)
        test_stream.test_expand_and_reduce_follow_their_weights(mode, norm)
        test_stream.test_parameters_can_be_set_after_the_meta_device(mode, norm)
        test_unfolding.test_inputs_are_the_weighted_sums_of_all_outputs_before(mode, norm)

    stated = ReZeroConnection.coefficients
    monkeypatch.setattr(ReZeroConnection, "coefficients", lambda *a: stated(*a)._replace(B=torch.ones(1).double()))
    with pytest.raises(AssertionError):
        test_stream.test_own_code_equals_the_plain_operator(mode, NORMS["rms_norm"])


def test_its_choice_is_recorded_and_known_by_the_search_path_alone(my_modes):
    config = compose(MODE)
    assert config.choices.residual == "re_zero" and config.residual._target_ == "my_modes.re_zero.ReZero"
    with pytest.raises(MissingConfigException, match="re_zero"):
        compose(MODE[1:])

import pytest

from hcexp.huggingface.network import build
from tests.huggingface.conftest import sections


@pytest.mark.parametrize("section", ["model", "residual"])
@pytest.mark.parametrize(
    "nested", [{"_target_": "os.system"}, {"norm": {"_target_": "os.system"}}, {"norms": [{"_target_": "os.system"}]}]
)
def test_nothing_outside_of_the_package_is_called(section, nested):
    model, residual = sections("pre_norm")
    model, residual = ({**model, **nested}, residual) if section == "model" else (model, {**residual, **nested})
    with pytest.raises(ValueError, match="_target_=os.system in config.json is not allowed"):
        build(model, residual)

"""Every choice of `conf/` composes and builds, and a value keeps its kind."""

from omegaconf import OmegaConf

from hcexp.configuration import build_model, compose, instantiate, shipped

CHOICES = {(path.parent.name, path.stem) for path in shipped("conf").glob("*/*.yaml")}
GIVEN = {
    ("data", "local"): ["data.files=a.txt"],
    ("data", "hub"): ["data.hub=a/b", f"data.revision={'0' * 40}"],
    ("data", "mixture"): ["data.mixture={a: {files: a.txt, weight: 1}}"],
    ("evaluation", "local"): ["evaluation.files=a.txt"],
}
SECTIONS = ("data", "optimizer", "schedule", "objective", "evaluation", "downstream", "callbacks")


def test_every_file_of_conf_composes_and_builds_without_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("some text")
    groups = {group: sorted(n for g, n in CHOICES if g == group) for group, _ in CHOICES if group != "model"}
    seen = set()
    for k in range(max(map(len, groups.values()))):  # the next of each at once; a scale chooses its model
        chosen = [(group, names[k % len(names)]) for group, names in groups.items()]
        given = [override for choice in chosen for override in GIVEN.get(choice, ())]
        config = compose([*(f"{group}={name}" for group, name in chosen), *given])
        seen |= {*config.choices.items()}
        assert {p.device.type for p in build_model(config).parameters()} == {"meta"}, chosen
        for section in SECTIONS:
            instantiate(config[section])
    assert seen >= CHOICES
    instantiate(compose(["tracking=none"]).tracking, runs=tmp_path, folder=str(tmp_path), step=0)


def test_what_is_given_wins_over_the_scale_wherever_it_stands():
    first, last = compose(["optimizer.lr=0.5", "scale=20m"]), compose(["scale=20m", "optimizer.lr=0.5"])
    assert first == last and first.optimizer.lr == 0.5 and first.model.d == 256


def test_a_number_is_the_same_however_it_is_written():
    for knob in ("objective.z_loss", "optimizer.weight_decay", "trainer.gradient_clip_val"):
        written = [compose([f"{knob}={value}"]) for value in ("2", "2.0", "2e0")]
        assert {repr(OmegaConf.select(config, knob)) for config in written} == {"2.0"}


def test_paths_expand_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compose().paths.cache == f"{tmp_path}/.cache/hcexp"
    config = compose(["paths.cache='~/kept'"])
    assert config.paths.cache == config.data.cache == f"{tmp_path}/kept"

SMALL = ("model=tiny", "model.d=32", "model.layers=1", "model.heads=2", "model.inner=32", "data.sequence_length=16")


def test_steps_of_every_mode_are_timed_in_turn(hcexp):
    options = ["--eager", "--rounds", "2", "--modes", "shc,dhc,altup", "residual.n=2", "trainer.accelerator=cpu"]
    status, out, err = hcexp("bench", *options, *SMALL)
    assert (status, err) == (0, "")
    rows = {line.split()[1]: line for line in out.splitlines() if " eager " in line and "│" in line}
    assert list(rows) == ["pre_norm", "shc", "dhc", "altup"]
    assert rows["pre_norm"].count(" 1.00 ") == 2 and "median of 2 interleaved rounds" in out


def test_what_cannot_be_measured_is_refused(refused):
    assert refused("bench", "--eager", "--modes", "dhcc").startswith("residual=dhcc is not known")
    assert refused("bench", "memory") == "memory is no override: write knob=value"

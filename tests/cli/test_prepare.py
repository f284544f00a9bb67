import json

import pytest


@pytest.fixture
def prepare(hcexp, minute, tmp_path):
    """`hcexp prepare` of a minute run, with a cache of its own."""

    def call(*arguments):
        return hcexp("prepare", *minute, f"paths.cache={tmp_path}/cache", *arguments)

    return call


def test_prepare_tokenises_once(prepare, tmp_path, texts):
    status, out, err = prepare()
    assert status == 0 and "tokens of" in out + err
    (index,) = (
        content
        for content in (json.loads(path.read_text()) for path in (tmp_path / "cache").glob("*/index.json"))
        if content["bytes"] == (texts / "train.txt").stat().st_size
    )
    assert f"{index['tokens']:,} tokens, 1 documents, {index['bytes']:,} bytes of text" in out
    assert f"{(index['tokens'] - 1) // 32:,} sequences of 32 tokens an epoch" in out
    assert "validation suite local: held" in out
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*")}

    status, again, err = prepare()
    assert status == 0 and "tokens of" not in again + err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*")} == made
    assert not (tmp_path / "runs").exists()


def test_workers_make_the_same_tokens(prepare, tmp_path, monkeypatch):
    from hcexp.data.text.tokens import encode

    began = []

    class Encoder(encode.Encoder):
        def __init__(self, tokenizer, workers):
            began.append(workers)
            super().__init__(tokenizer, workers)

    monkeypatch.setattr("hcexp.data.text.tokens.stream_writer.Encoder", Encoder)
    stores = []
    for name, arguments in {"one": ["--workers", 2], "other": []}.items():
        assert prepare(f"paths.cache={tmp_path}/{name}", *arguments)[0] == 0
        stores.append({path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).glob("*/*")})
    assert stores[0] == stores[1]
    assert began == [2, 0, 0, 0]  # the validation sets are small


def test_a_mixture_shows_its_shares(hcexp, minute, tmp_path):
    sources = []
    for name, number in {"law": 40, "news": 5}.items():
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "some words of {name}"}}\n' * number)
        sources.append(f"{name}: {{files: {tmp_path}/{name}.jsonl, weight: 1}}")
    kept = [argument for argument in minute if not argument.startswith(("data=", "data.files="))]
    mixture = ["data=mixture", f"data.mixture={{{', '.join(sources)}}}", "data.sequence_length=8"]
    status, out, _ = hcexp("prepare", *kept, *mixture, f"paths.cache={tmp_path}/cache")
    assert status == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["law"][1] == rows["news"][1] == "50.00"
    assert float(rows["law"][2]) > 80 > 20 > float(rows["news"][2])
    assert rows["law"][4] == "40" and rows["news"][4:] == ["5", "ran", "out"]


def test_a_bad_weight_or_number_is_one_line(refused, minute, texts):
    assert refused("prepare", "--workers", "0") == "argument --workers: 0 must be a whole number, 1 or more"
    kept = [argument for argument in minute if not argument.startswith(("data=", "data.files="))]
    line = refused("prepare", *kept, "data=mixture", f"data.mixture={{a: {{files: {texts}/train.txt, weight: -1}}}}")
    assert line == "data.mixture.a.weight=-1: allowed is a number greater than 0"
    assert refused("prepare", *kept, "data=mixture") == "data.mixture must be given: add data.mixture=…"


def test_a_run_is_the_same_however_many_processes_made_its_tokens(make_run):
    assert make_run("data.workers=2").identity == make_run().identity

import json


def test_prepare_tokenises_once(hcexp, minute, tmp_path, texts):
    arguments = ["prepare", *minute, f"paths.cache={tmp_path}/cache"]
    status, out, err = hcexp(*arguments)
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

    status, again, err = hcexp(*arguments)
    assert status == 0 and "tokens of" not in again + err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*")} == made
    assert not (tmp_path / "runs").exists()

import pyarrow.parquet as pq

from hcexp.data import LocalSource, corpus
from hcexp.data.corpus import build


def documents(path):
    return [document.text for document in LocalSource(path).read()]


def test_one_small_file_a_domain_with_one_column_in_zstd():
    for folder in (corpus.TRAIN, corpus.VALIDATION):
        assert sorted(path.name for path in folder.iterdir()) == [f"{domain}.parquet" for domain in build.DOMAINS]
        for path in folder.iterdir():
            file = pq.ParquetFile(path)
            assert file.schema.names == ["text"]
            assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    texts = [sum(build.size(text) for text in documents(path)) for path in corpus.TRAIN.iterdir()]
    assert max(texts) <= 0.4 * sum(texts)
    files = [*corpus.TRAIN.iterdir(), *corpus.VALIDATION.iterdir(), corpus.TOKENIZER]
    assert sum(path.stat().st_size for path in files) < 5e6
    for path in corpus.VALIDATION.iterdir():  # quick to evaluate
        assert 65_000 <= sum(build.size(text) for text in documents(path)) <= 130_000


def test_building_it_twice_gives_the_same_files(tmp_path, monkeypatch, capsys):
    """From a few of its own documents; the whole takes ten seconds."""
    monkeypatch.setattr(build, "VOCABULARY_SIZE", 400)
    for split in ("train", "validation"):
        for domain in build.DOMAINS:
            texts = pq.read_table(corpus.VALIDATION / f"{domain}.parquet")["text"].to_pylist()
            build.write([text[:4000] for text in texts], tmp_path / "in" / split / f"{domain}.parquet")
    made = []
    for name in ("one", "two"):
        arguments = ["build", str(tmp_path / "in"), "--output", str(tmp_path / name)]
        monkeypatch.setattr("sys.argv", arguments)
        build.main()
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        made.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert made[0] == made[1] and len(made[0]) == 9
    assert "unigram entropy" in capsys.readouterr().out


def test_the_subset_of_the_speeches_does_not_depend_on_their_order():
    texts = [f"{i} " * 50 for i in range(40)]
    drawn = build.train_subset(texts, 3000)
    assert drawn == [text for text in texts if text in drawn]  # in file order
    assert set(build.train_subset(texts[::-1], 3000)) == set(drawn)
    assert 2500 < sum(map(build.size, drawn)) <= 3000


def test_held_out_documents_are_whole():
    assert build.validation_subset(["a" * 50, "b" * 60, "c"], 100) == ["a" * 50]

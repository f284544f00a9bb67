import pyarrow.parquet as pq

from hcexp.data import LocalSource, corpus
from hcexp.data.corpus import build


def test_one_small_file_a_domain_with_one_column_in_zstd():
    sizes = {}
    for folder in (corpus.TRAIN, corpus.VALIDATION):
        assert sorted(path.name for path in folder.iterdir()) == [f"{domain}.parquet" for domain in build.DOMAINS]
        for path in folder.iterdir():
            file = pq.ParquetFile(path)
            assert (file.schema.names, file.metadata.row_group(0).column(0).compression) == (["text"], "ZSTD")
            sizes[path] = sum(len(document.text.encode()) for document in LocalSource(path).read())
    train = [size for path, size in sizes.items() if path.parent == corpus.TRAIN]
    assert max(train) <= 0.4 * sum(train)
    assert sum(path.stat().st_size for path in [*sizes, corpus.TOKENIZER]) < 5e6
    # Quick to evaluate.
    assert all(65_000 <= size <= 130_000 for path, size in sizes.items() if path.parent == corpus.VALIDATION)


def test_building_it_twice_gives_the_same_files(tmp_path, monkeypatch, capsys):
    """From a few of its own documents; the whole takes ten seconds."""
    monkeypatch.setattr(build, "VOCABULARY_SIZE", 400)
    for split in ("train", "validation"):
        for domain in build.DOMAINS:
            texts = pq.read_table(corpus.VALIDATION / f"{domain}.parquet")["text"].to_pylist()
            build.write([text[:4000] for text in texts], tmp_path / "in" / split / f"{domain}.parquet")
    made = []
    for output in (tmp_path / "one", tmp_path / "two"):
        monkeypatch.setattr("sys.argv", ["build", str(tmp_path / "in"), "--output", str(output)])
        build.main()
        made.append({path.relative_to(output): path.read_bytes() for path in output.rglob("*.*")})
    assert made[0] == made[1] and len(made[0]) == 9
    assert "unigram entropy" in capsys.readouterr().out


def test_a_subset_is_of_whole_documents_in_file_order_and_train_draws_whatever_the_order():
    texts = [f"{i} " * 50 for i in range(40)]
    drawn = build.train_subset(texts, 3000)
    assert drawn == [text for text in texts if text in drawn] and 2500 < sum(map(len, drawn)) <= 3000
    assert set(build.train_subset(texts[::-1], 3000)) == set(drawn)
    assert build.validation_subset(["a" * 50, "b" * 60, "c"], 100) == ["a" * 50]

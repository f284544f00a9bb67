"""The tokenizer of a run as the files that `AutoTokenizer.from_pretrained` reads."""

import json
from pathlib import Path

from hcexp.data import TextTokenizer

PADDING = "<|padding|>"  # OLMo's; a tokenizer without it pads with the token that ends a document


class TokenizerFiles:
    """Ids and files of a tokenizer.

    A document begins after the token that ends the one before it, so that this token is the first of a text too.
    Text that spells a special token becomes that token in `transformers`, while training took it for text.
    """

    def __init__(self, tokenizer: TextTokenizer):
        self.json = tokenizer.to_json()
        self.eos, self.eos_id = tokenizer.eos, tokenizer.eos_id
        special = {token["content"]: token["id"] for token in json.loads(self.json)["added_tokens"]}
        self.pad_id = special.get(PADDING)
        self.pad = self.eos if self.pad_id is None else PADDING

    @property
    def ids(self) -> dict[str, int | None]:
        """The special tokens' ids, for `config.json`."""
        # OLMo's embedding gives the padding's row no gradient, which the row of another token must have.
        return {"bos_token_id": self.eos_id, "eos_token_id": self.eos_id, "pad_token_id": self.pad_id}

    @property
    def generation_ids(self) -> dict[str, int]:
        """The same, for `generation_config.json`, where padding must have an id."""
        return {**self.ids, "pad_token_id": self.eos_id if self.pad_id is None else self.pad_id}

    def write(self, folder: Path, sequence_length: int) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, for texts of `sequence_length` tokens."""
        (folder / "tokenizer.json").write_text(self.json)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.eos,
            "eos_token": self.eos,
            "pad_token": self.pad,
            "model_max_length": sequence_length,
            "padding_side": "left",  # as generating from several texts at once needs it
            "clean_up_tokenization_spaces": False,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False))

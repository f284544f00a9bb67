"""The tokenizer of a run as the files that `AutoTokenizer.from_pretrained` reads."""

import json
from pathlib import Path

from hcexp.data import TextTokenizer

PADDING = "<|padding|>"  # OLMo's; a tokenizer without it pads with the token that ends a document


class TokenizerFiles:
    """Ids and files of a tokenizer.

    A document begins after the token that ends the one before it, so that this token is the first of a text too.
    Text that spells a special token becomes that token in `transformers`, while training took it for text.

    Attributes:
        ids: of the special tokens, for `config.json`.
        generation_ids: the same, for `generation_config.json`, where padding must have an id.
    """

    def __init__(self, tokenizer: TextTokenizer):
        self.json = tokenizer.to_json()
        special = {token["content"]: token["id"] for token in json.loads(self.json)["added_tokens"]}
        self.eos, self.pad = tokenizer.eos, PADDING if PADDING in special else tokenizer.eos
        # OLMo's embedding gives the padding's row no gradient, which the row of another token must have.
        ends = {"bos_token_id": tokenizer.eos_id, "eos_token_id": tokenizer.eos_id}
        self.ids = {**ends, "pad_token_id": special.get(PADDING)}
        self.generation_ids = {**ends, "pad_token_id": special.get(PADDING, tokenizer.eos_id)}

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

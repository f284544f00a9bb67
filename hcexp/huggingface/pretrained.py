"""The classes that `transformers` loads an exported folder with; the folder's two files only import them."""

from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from hcexp.huggingface.network import build


class HcexpConfig(PreTrainedConfig):
    """Carries the sections `model` and `residual` of the run's configuration."""

    model_type = "hcexp"
    use_cache = True  # a setting of generation: `transformers` takes it out of a configuration that it saves

    def __init__(self, model: dict | None = None, residual: dict | None = None, **keys: Any):
        self.model = model
        self.residual = residual
        super().__init__(**keys)


class Attended:
    """Earlier keys and values, and what each new token sees of them: the `past` of one pass through the network.

    Args:
        cache: of `transformers`, which grows by the new tokens; or none.
        padding: (batch, all tokens), nonzero where there is text; or none, where there is text everywhere.
        seq: new tokens.

    Raises ValueError for `padding` of another shape, or inside a row.
    """

    def __init__(self, cache: Cache | None, padding: Tensor | None, seq: int, device: torch.device):
        self.cache = cache
        self.seen = 0 if cache is None else cache.get_seq_length()
        self.mask: Tensor | None = None
        self._layers = count()
        if padding is not None or (self.seen and seq > 1):
            places = torch.arange(self.seen + seq, device=device)
            new = places[self.seen :, None]
            self.mask = places <= new
            if padding is not None:  # padding sees itself: a row that sees nothing would be nan
                _require_padding_outside(padding, self.seen + seq)
                self.mask = self.mask & padding.bool()[:, None, None] | (places == new)

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.cache is not None:
            k, v = self.cache.update(k, v, next(self._layers))
        return k, v, self.mask


class HcexpForCausalLM(PreTrainedModel, GenerationMixin):
    """Any network of this package, with whatever residual mode, as a causal language model.

    A residual mode acts token by token, so that keys and values are all that generating has to keep.
    """

    config_class = HcexpConfig
    _supports_sdpa = True

    def __init__(self, config: HcexpConfig):
        super().__init__(config)
        self.network = build(config.model, config.residual)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        use_cache: bool | None = None,
        past_key_values: Cache | None = None,
        return_dict: bool = True,
    ) -> CausalLMOutputWithPast:
        """Logits, (batch, seq, padded vocabulary), of the token after each of `input_ids`, (batch, seq).

        Those of padding mean nothing. `past_key_values` has the tokens before, of which `attention_mask` tells too.
        Without gradients a cache is made, unless `use_cache` says otherwise.

        Raises ValueError for an `attention_mask` that is not (batch, all tokens), or with padding inside a row.
        """
        if use_cache is None:
            use_cache = self.config.use_cache and not torch.is_grad_enabled()
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        seq = input_ids.shape[-1]
        padding = None if attention_mask is None or attention_mask.all() else attention_mask
        past = Attended(past_key_values, padding, seq, input_ids.device)
        plain = past_key_values is None and padding is None
        logits = self.network(input_ids) if plain else self.network(input_ids, past, past.seen)
        loss = self.loss_function(logits, labels, self.config.vocab_size) if labels is not None else None
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        output = CausalLMOutputWithPast(loss=loss, logits=logits[:, kept], past_key_values=past_key_values)
        return output if return_dict else output.to_tuple()

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """Make what no file holds: everything, as at the start of training, or only what is never saved.

        Raises ValueError if files were read and lack a weight.
        """
        parameters = dict(self.named_parameters())
        read = [name for name, p in parameters.items() if getattr(p, "_is_hf_initialized", False)]
        if not read:
            self.network.reset_parameters(seed=0)
        elif absent := sorted(parameters.keys() - read):
            raise ValueError(f"the files of the model lack the weight {absent[0]}")
        else:
            stream = self.network.stream
            kept = {name: tensor.clone() for name, tensor in stream.state_dict().items()}
            stream.reset_parameters()  # sets buffers too, which a state does not hold
            stream.load_state_dict(kept)

    def get_input_embeddings(self) -> nn.Module:
        return self.network.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.network.embedding = value
        rows = value.num_embeddings
        self.config.model = {**self.config.model, "vocabulary_size": rows, "pad_vocabulary_to": 1}

    def get_output_embeddings(self) -> nn.Module | None:
        return self.network.unembedding

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.network.unembedding = value


def _require_padding_outside(padding: Tensor, length: int) -> None:
    if padding.dim() != 2 or padding.shape[-1] != length:
        raise ValueError(f"attention_mask has the shape {tuple(padding.shape)}: allowed is (batch, {length})")
    begun = pad(padding.int(), (1, 0)).diff().eq(1).sum(-1)
    if begun.gt(1).any():  # positions would count it
        raise ValueError("attention_mask has padding inside a row: it is allowed in front and behind only")

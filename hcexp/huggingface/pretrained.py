"""The classes that `transformers` loads an exported folder with; the folder's two files only import them."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from hcexp.huggingface.network import build


class HcexpConfig(PreTrainedConfig):
    """Carries the sections `model` and `residual` of the run's configuration."""

    model_type = "hcexp"

    def __init__(self, model: dict | None = None, residual: dict | None = None, **keys: Any):
        self.model = model
        self.residual = residual
        super().__init__(**{"use_cache": False, **keys})


class HcexpForCausalLM(PreTrainedModel, GenerationMixin):
    """Any network of this package, with whatever residual mode, as a causal language model.

    There is no cache of keys and values: `generate` runs the whole sequence for every token.
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
        use_cache: bool = False,
        past_key_values: None = None,
        return_dict: bool = True,
    ) -> CausalLMOutputWithPast:
        """Logits, (batch, seq, padded vocabulary), of the token after each of `input_ids`, (batch, seq).

        Raises ValueError for any cache, and for an `attention_mask`, (batch, seq), with padding inside a row.
        """
        if use_cache or past_key_values is not None:
            raise ValueError("this model has no cache of keys and values: use_cache=False is allowed")
        logits = self._padded(input_ids, attention_mask)
        loss = self.loss_function(logits, labels, self.config.vocab_size) if labels is not None else None
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        output = CausalLMOutputWithPast(loss=loss, logits=logits[:, kept])
        return output if return_dict else output.to_tuple()

    def _padded(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Logits as if every row stood alone; those of padding mean nothing.

        The network is causal and sees positions only by their differences, so that padding does no harm behind a
        text: rows that have it in front are turned until it is behind, and back.
        """
        if mask is None or mask.all():
            return self.network(tokens)
        ahead = (mask.cumsum(-1) == 0).sum(-1, keepdim=True)
        places = torch.arange(tokens.shape[-1], device=tokens.device)
        turned = (places + ahead) % tokens.shape[-1]
        if mask.gather(-1, turned).bool().diff().sum(-1).gt(1).any():
            raise ValueError("attention_mask has padding inside a row: it is allowed in front and behind only")
        logits = self.network(tokens.gather(-1, turned))
        back = (places - ahead) % tokens.shape[-1]
        return logits.gather(1, back.unsqueeze(-1).expand_as(logits))

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

    def get_output_embeddings(self) -> nn.Module | None:
        return self.network.unembedding

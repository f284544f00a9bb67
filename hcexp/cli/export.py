"""Write the model of a run as a folder that Hugging Face's transformers loads.

Pre-norm with OLMo's block becomes a plain OlmoForCausalLM. Every other model gets a file of code that imports hcexp:
it loads with trust_remote_code=True where hcexp is installed, and generates without a cache.

example:
  hcexp export runs/0123456789abcdef
  hcexp export runs/0123456789abcdef --to my_model --checkpoint runs/0123456789abcdef/checkpoints/step=000200.ckpt
"""

from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import parser
from hcexp.cli.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    options = parser("export", __doc__)
    options.add_argument("run", type=Path, help="the folder of a run")
    options.add_argument("--to", type=Path, help="the folder to write (default: export, in the run's folder)")
    options.add_argument("--checkpoint", type=Path, help="the checkpoint (default: the run's newest)")
    chosen = options.parse_args(arguments)
    quiet()
    from omegaconf import OmegaConf

    from hcexp.data import TextTokenizer
    from hcexp.huggingface import export
    from hcexp.run.checkpoint import load_trained

    config, weights, step = load_trained(chosen.run, chosen.checkpoint)
    folder = chosen.to or chosen.run / "export"
    sections = OmegaConf.to_container(config, resolve=True)
    data = sections["data"]
    if "tokenizer" not in data:
        raise ValueError(f"{chosen.run} trained no language model: there is nothing that transformers could load")
    beyond = export(
        sections["model"],
        sections["residual"],
        weights,
        TextTokenizer(data["tokenizer"], data["eos"], data["vocabulary_size"]),
        folder,
        sequence_length=data["sequence_length"],
    )
    print(f"step {step} of {config.steps} exported as {'HcexpForCausalLM' if beyond else 'OlmoForCausalLM'}: {folder}")
    if beyond:
        print(f"it needs hcexp where it is loaded, for {beyond}")
    trust = ", trust_remote_code=True" if beyond else ""
    print(f'AutoModelForCausalLM.from_pretrained("{folder}"{trust})')
    return 0

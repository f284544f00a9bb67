"""Write the model of a run as a folder that Hugging Face's transformers loads.

Pre-norm with OLMo's block becomes a plain OlmoForCausalLM. Every other model gets a file of code that imports hcexp:
it loads with trust_remote_code=True where hcexp is installed.

example:
  hcexp export runs/0123456789abcdef
  hcexp export runs/0123456789abcdef --to my_model --checkpoint runs/0123456789abcdef/checkpoints/step=000200.ckpt
"""

from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import parser, run_folder


def main(arguments: Sequence[str]) -> int:
    options = parser("export", __doc__)
    options.add_argument("run", type=run_folder, metavar="RUN", help="a run: its folder, or how its name begins")
    options.add_argument("--to", type=Path, help="the folder to write (default: export, in the run's folder)")
    options.add_argument("--checkpoint", type=Path, help="the checkpoint (default: the run's newest)")
    chosen = options.parse_args(arguments)
    from omegaconf import OmegaConf

    from hcexp.huggingface import export
    from hcexp.run.checkpoint import read_checkpoint, tokenizer_of

    trained = read_checkpoint(chosen.run, chosen.checkpoint)
    folder = chosen.to or chosen.run / "export"
    sections = OmegaConf.to_container(trained.config, resolve=True)
    beyond = export(
        sections["model"],
        sections["residual"],
        trained.weights,
        tokenizer_of(trained.config),
        folder,
        sequence_length=sections["data"]["sequence_length"],
    )
    name = "HcexpForCausalLM" if beyond else "OlmoForCausalLM"
    print(f"step {trained.step} of {trained.config.steps} exported as {name}: {folder}")
    if beyond:
        print(f"it needs hcexp where it is loaded, for {beyond}")
    trust = ", trust_remote_code=True" if beyond else ""
    print(f'AutoModelForCausalLM.from_pretrained("{folder}"{trust})')
    return 0

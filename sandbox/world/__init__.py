"""The drawn world: vocabulary, scenes, renderer, captions, concepts."""

"""Publication of models: model card, SpeechBrain's layout, ONNX."""

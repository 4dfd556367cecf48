"""A run as one graph of operators, pictures in and boxes out, that other runtimes read (ONNX)."""

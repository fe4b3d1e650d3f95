"""What a transformer says and is asked: its vocabulary, the tasks, and tokenizer and transformer put together."""

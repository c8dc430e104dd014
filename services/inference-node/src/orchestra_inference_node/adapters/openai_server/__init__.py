"""A server that runs already on the host and speaks OpenAI's dialect."""

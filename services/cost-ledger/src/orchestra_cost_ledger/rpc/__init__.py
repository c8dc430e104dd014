"""The contract: messages in, messages out."""

"""Telling others over the network: webhooks, Kafka, Redis."""

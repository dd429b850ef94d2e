"""Encryption at rest: named keys, blobs sealed under them, and how both are rotated."""

from hosu.objects.encryption.keys import DEFAULT_KEY, KeyService, NamedKey
from hosu.objects.encryption.modes import Encryption, EncryptionFacts, EncryptionMode

__all__ = ["DEFAULT_KEY", "Encryption", "EncryptionFacts", "EncryptionMode", "KeyService", "NamedKey"]

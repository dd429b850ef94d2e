"""Deletion vectors: which rows of data files are gone without the files being written anew."""

from hosu.tables.vectors.codec import Vector, decode_vector, encode_vector
from hosu.tables.vectors.index import DELETION_VECTORS, new_vector, read_vectors, vectors_of, write_vectors

__all__ = [
    "DELETION_VECTORS",
    "Vector",
    "decode_vector",
    "encode_vector",
    "new_vector",
    "read_vectors",
    "vectors_of",
    "write_vectors",
]

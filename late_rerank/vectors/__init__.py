"""Documents -> packed token vectors, wherever they are: in the store, being encoded for another call, or to be encoded now.

In: documents. Out: packed documents with their keys. This room knows stores, codecs and encoders, but no query and no score.
"""

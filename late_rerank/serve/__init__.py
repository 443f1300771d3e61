"""A Reranker over HTTP: requests of rerank clients in, their answers out; a page to try it on. Needs the extra `server`.

bodies      what clients send
json_text   JSON with lone surrogates and NaN, in and out
dialects    a client's request -> a Question; a Ranking -> what that client reads; errors as it knows them
gathering   questions that arrive together -> rankings, in few threads; the event loop never waits
ranking     the threads' side of it: batches, deadlines, errors that are one request's
limits      how much is taken on, and for how long
access      API keys, request ids, which hosts may ask
metrics     what Prometheus reads
app         the endpoints
running     processes that serve
port        that it can be had, and which process a connection goes to
memory      what native libraries keep is bounded, and given back
page/       the playground, plain HTML, CSS and JavaScript
"""

"""The visitors' side: accepting connections, HTTP/1.1 and HTTP/2. Imports `middle` and below.

Begin with `entrance`, then `http1`; HTTP/2 is `h2` (the connection), `h2stream` and `h2frames`.
"""

-- HTTPS. The certificates and their private keys are files in HOME/edge/certificates; no row holds a key.

CREATE TABLE certificate (
    app_id TEXT REFERENCES app (id) ON DELETE CASCADE, -- null: for the own addresses of all apps
    domain TEXT NOT NULL,                       -- the host name that it was given for
    names TEXT NOT NULL,                        -- ["example.com", "*.example.com"]: what it says of itself
    file TEXT NOT NULL,                         -- SHA256.pem: the chain, then the key
    source TEXT NOT NULL CHECK (source IN ('added', 'generated', 'acme')),
    issuer TEXT NOT NULL,
    fingerprint TEXT NOT NULL,                  -- SHA-256 of the certificate, hex
    not_before REAL NOT NULL,
    not_after REAL NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE UNIQUE INDEX certificate_of_domain ON certificate (coalesce(app_id, ''), domain);

-- Desired: this domain's certificate comes from the ACME directory, and is renewed.
CREATE TABLE auto_certificate (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    domain TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (app_id, domain)
) STRICT;

-- Observed: how asking the directory went.
CREATE TABLE acme_attempt (
    app_id TEXT NOT NULL,
    domain TEXT NOT NULL,
    failures INTEGER NOT NULL,                  -- in a row; counted when an attempt begins
    next_at REAL NOT NULL,                      -- no other attempt before
    error TEXT,                                 -- PaasError.to_json() of the last failure
    order_url TEXT,                             -- an order that an interrupted attempt left
    PRIMARY KEY (app_id, domain),
    FOREIGN KEY (app_id, domain) REFERENCES auto_certificate (app_id, domain) ON DELETE CASCADE
) STRICT;

-- What the authority will look for at http://DOMAIN/.well-known/acme-challenge/TOKEN (RFC 8555, section 8.3).
CREATE TABLE challenge (
    domain TEXT NOT NULL,
    token TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (domain, token)
) STRICT;

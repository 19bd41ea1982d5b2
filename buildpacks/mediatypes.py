"""Media types of static files by the ends of their names: as IANA has registered them, else as browsers know them. Pure."""

from __future__ import annotations

from typing import Final

TYPES: Final = {
    "text/html": "html htm shtml",
    "text/css": "css",
    "text/javascript": "js mjs cjs",
    "text/plain": "txt text log",
    "text/markdown": "md markdown",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/calendar": "ics ifb",
    "text/vcard": "vcf vcard",
    "text/vtt": "vtt",
    "text/x-component": "htc",
    "application/xml": "xml xsl xsd",
    "application/xslt+xml": "xslt",
    "application/xhtml+xml": "xhtml xht",
    "application/atom+xml": "atom",
    "application/rss+xml": "rss",
    "application/mathml+xml": "mml mathml",
    "application/rdf+xml": "rdf owl",
    "application/xspf+xml": "xspf",
    "application/json": "json map",
    "application/ld+json": "jsonld",
    "application/geo+json": "geojson",
    "application/manifest+json": "webmanifest",
    "application/jsonl": "jsonl",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/sql": "sql",
    "application/wasm": "wasm",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/postscript": "ps eps ai",
    "application/epub+zip": "epub",
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/zstd": "zst",
    "application/vnd.rar": "rar",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-xz": "xz",
    "application/x-tar": "tar",
    "application/java-archive": "jar war ear",
    "application/x-java-jnlp-file": "jnlp",
    "application/vnd.android.package-archive": "apk",
    "application/x-redhat-package-manager": "rpm",
    "application/vnd.debian.binary-package": "deb",
    "application/octet-stream": "bin exe dll dmg iso img msi msp msm",
    "application/x-x509-ca-cert": "der crt",
    "application/x-pem-file": "pem",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.graphics": "odg",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.google-earth.kmz": "kmz",
    "application/gpx+xml": "gpx",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/dash+xml": "mpd",
    "application/vnd.ms-fontobject": "eot",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "font/collection": "ttc",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jpeg": "jpg jpeg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg svgz",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico cur",
    "image/webp": "webp",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/midi": "mid midi kar",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "video/3gpp": "3gp 3gpp",
    "video/mp2t": "ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpeg mpg",
    "video/matroska": "mkv",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-msvideo": "avi",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/stl": "stl",
    "model/mtl": "mtl",
}

TEXT: Final = tuple(kind for kind in TYPES if kind.startswith("text/") and kind != "text/html")
"""What is said to be UTF-8, besides HTML. JSON and YAML are by definition, XML says it itself."""
COMPRESSED: Final = (
    *TEXT,
    *(
        kind
        for kind in TYPES
        if kind.endswith(("json", "xml", "/yaml", "/toml", "/sql", "/wasm", "/jsonl", "-fontobject", "/bmp"))
    ),
    "font/ttf",
    "font/otf",
    "image/vnd.microsoft.icon",
)
"""What gets smaller by gzip, besides HTML."""


def _nginx() -> str:
    types = "".join(f"    {kind} {ends};\n" for kind, ends in TYPES.items())
    return (
        f"  types {{\n{types}  }}\n  types_hash_max_size 4096;\n  default_type application/octet-stream;\n"
        f"  charset utf-8;\n  charset_types {' '.join(TEXT)};\n  gzip_types {' '.join(COMPRESSED)};\n"
    )


NGINX_HTTP: Final = (
    _nginx()
    + r"""  log_format plain '\$http_x_forwarded_for "\$request" \$status \$body_bytes_sent \$request_time';
  access_log /dev/stdout plain;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
"""
)
"""What each nginx of ours has in its `http` block, inside of a here-document: types, log lines, folders below $work."""

"""In which Debian 12 package a header, a pkg-config module, a program or a shared library is that builds and programs ask for. Pure."""

from __future__ import annotations

HEADERS = {
    "libpq-fe.h": "libpq-dev", "pg_config.h": "libpq-dev", "mysql.h": "default-libmysqlclient-dev", "my_config.h": "default-libmysqlclient-dev",
    "mysql/mysql.h": "default-libmysqlclient-dev", "sqlite3.h": "libsqlite3-dev", "sql.h": "unixodbc-dev", "sqlext.h": "unixodbc-dev", "sybdb.h": "freetds-dev", "sqlfront.h": "freetds-dev",
    "jpeglib.h": "libjpeg62-turbo-dev", "png.h": "libpng-dev", "tiff.h": "libtiff-dev", "tiffio.h": "libtiff-dev", "zlib.h": "zlib1g-dev",
    "webp/decode.h": "libwebp-dev", "ft2build.h": "libfreetype-dev", "lcms2.h": "liblcms2-dev", "openjpeg.h": "libopenjp2-7-dev", "gif_lib.h": "libgif-dev",
    "libxml/xmlversion.h": "libxml2-dev", "libxml/tree.h": "libxml2-dev", "libxml/parser.h": "libxml2-dev", "libxslt/xslt.h": "libxslt1-dev", "libxslt/xsltconfig.h": "libxslt1-dev",
    "xmlsec/xmlsec.h": "libxmlsec1-dev", "cairo.h": "libcairo2-dev", "cairo/cairo.h": "libcairo2-dev", "pango/pango.h": "libpango1.0-dev", "gobject/gobject.h": "libglib2.0-dev",
    "glib.h": "libglib2.0-dev", "girepository.h": "libgirepository1.0-dev", "vips/vips.h": "libvips-dev", "ffi.h": "libffi-dev", "openssl/ssl.h": "libssl-dev",
    "openssl/opensslv.h": "libssl-dev", "openssl/err.h": "libssl-dev", "openssl/evp.h": "libssl-dev", "Python.h": "python3-dev", "gmp.h": "libgmp-dev", "mpfr.h": "libmpfr-dev", "mpc.h": "libmpc-dev", "yaml.h": "libyaml-dev", "bzlib.h": "libbz2-dev", "lzma.h": "liblzma-dev",
    "zstd.h": "libzstd-dev", "lz4.h": "liblz4-dev", "snappy-c.h": "libsnappy-dev", "curl/curl.h": "libcurl4-openssl-dev", "lber.h": "libldap2-dev", "ldap.h": "libldap2-dev",
    "sasl/sasl.h": "libsasl2-dev", "sasl.h": "libsasl2-dev", "gssapi/gssapi.h": "libkrb5-dev", "gssapi.h": "libkrb5-dev", "krb5.h": "libkrb5-dev", "magic.h": "libmagic-dev",
    "portaudio.h": "portaudio19-dev", "alsa/asoundlib.h": "libasound2-dev", "sndfile.h": "libsndfile1-dev", "opus/opus.h": "libopus-dev", "geos_c.h": "libgeos-dev",
    "gdal.h": "libgdal-dev", "proj.h": "libproj-dev", "spatialindex/capi/sidx_api.h": "libspatialindex-dev", "hdf5.h": "libhdf5-dev", "librdkafka/rdkafka.h": "librdkafka-dev", "zmq.h": "libzmq3-dev",
    "leveldb/db.h": "libleveldb-dev", "gdbm.h": "libgdbm-dev", "db.h": "libdb-dev", "readline/readline.h": "libreadline-dev", "ncurses.h": "libncurses-dev", "cups/cups.h": "libcups2-dev",
    "dbus/dbus.h": "libdbus-1-dev", "systemd/sd-daemon.h": "libsystemd-dev", "uuid/uuid.h": "uuid-dev", "re2/re2.h": "libre2-dev", "pcap.h": "libpcap-dev", "sodium.h": "libsodium-dev",
    "libmemcached/memcached.h": "libmemcached-dev", "event.h": "libevent-dev", "poppler/cpp/poppler-document.h": "libpoppler-cpp-dev", "tesseract/baseapi.h": "libtesseract-dev", "leptonica/allheaders.h": "libleptonica-dev",
    "enchant.h": "libenchant-2-dev", "seccomp.h": "libseccomp-dev", "sys/capability.h": "libcap-dev", "sys/acl.h": "libacl1-dev", "attr/xattr.h": "libattr1-dev", "libudev.h": "libudev-dev", "libusb-1.0/libusb.h": "libusb-1.0-0-dev",
    "bluetooth/bluetooth.h": "libbluetooth-dev", "X11/Xlib.h": "libx11-dev", "GL/gl.h": "libgl-dev", "SDL.h": "libsdl2-dev", "libavformat/avformat.h": "libavformat-dev", "libavcodec/avcodec.h": "libavcodec-dev",
    "boost/python.hpp": "libboost-python-dev", "boost/version.hpp": "libboost-dev", "Eigen/Dense": "libeigen3-dev", "cblas.h": "libopenblas-dev", "lapacke.h": "liblapacke-dev", "fftw3.h": "libfftw3-dev", "graphviz/cgraph.h": "libgraphviz-dev", "gpgme.h": "libgpgme-dev", "git2.h": "libgit2-dev", "ssh2.h": "libssh2-1-dev", "pcre.h": "libpcre3-dev", "expat.h": "libexpat1-dev",
}  # fmt: skip
MODULES = {
    "libpq": "libpq-dev", "mysqlclient": "default-libmysqlclient-dev", "libmariadb": "libmariadb-dev", "mariadb": "libmariadb-dev", "libxml-2.0": "libxml2-dev", "libxslt": "libxslt1-dev",
    "xmlsec1": "libxmlsec1-dev", "cairo": "libcairo2-dev", "pangocairo": "libpango1.0-dev", "pango": "libpango1.0-dev", "gobject-introspection-1.0": "libgirepository1.0-dev", "girepository-1.0": "libgirepository1.0-dev", "girepository-2.0": "libgirepository1.0-dev",
    "glib-2.0": "libglib2.0-dev", "gio-2.0": "libglib2.0-dev", "dbus-1": "libdbus-1-dev", "libffi": "libffi-dev", "openssl": "libssl-dev", "libssl": "libssl-dev", "libcrypto": "libssl-dev", "libsystemd": "libsystemd-dev", "libvirt": "libvirt-dev", "fuse": "libfuse-dev", "fuse3": "libfuse3-dev", "opus": "libopus-dev",
    "libzmq": "libzmq3-dev", "libsodium": "libsodium-dev", "vips": "libvips-dev", "vips-cpp": "libvips-dev", "poppler-cpp": "libpoppler-cpp-dev", "gdal": "libgdal-dev", "geos": "libgeos-dev", "libavformat": "libavformat-dev", "libavdevice": "libavdevice-dev", "libavcodec": "libavcodec-dev", "pixman-1": "libpixman-1-dev",
    "libpng": "libpng-dev", "freetype2": "libfreetype-dev", "librsvg-2.0": "librsvg2-dev", "rdkafka": "librdkafka-dev", "sqlite3": "libsqlite3-dev", "icu-i18n": "libicu-dev", "hdf5": "libhdf5-dev", "x11": "libx11-dev", "libcurl": "libcurl4-openssl-dev", "gpgme": "libgpgme-dev", "python3": "python3-dev", "openblas": "libopenblas-dev", "tesseract": "libtesseract-dev", "lept": "libleptonica-dev", "libseccomp": "libseccomp-dev", "libcap": "libcap-dev", "libcgraph": "libgraphviz-dev", "libgit2": "libgit2-dev",
}  # fmt: skip
PROGRAMS = {
    "pg_config": "libpq-dev", "mysql_config": "default-libmysqlclient-dev", "mariadb_config": "libmariadb-dev", "curl-config": "libcurl4-openssl-dev", "krb5-config": "libkrb5-dev",
    "xml2-config": "libxml2-dev", "xslt-config": "libxslt1-dev", "gdal-config": "libgdal-dev", "geos-config": "libgeos-dev", "llvm-config": "llvm-dev", "dot": "graphviz", "cmake": "cmake",
    "swig": "swig", "gfortran": "gfortran", "nasm": "nasm", "ffmpeg": "ffmpeg", "protoc": "protobuf-compiler", "cargo": "cargo", "flex": "flex", "bison": "bison", "autoreconf": "dh-autoreconf", "libtoolize": "libtool",
}  # fmt: skip
LIBRARIES = {
    "libpq.so.5": "libpq5", "libmariadb.so.3": "libmariadb3", "libpython3.11.so.1.0": "libpython3.11", "libpython3.13.so.1.0": "libpython3.13", "libpython3.14.so.1.0": "libpython3.14", "libpython3.15.so.1.0": "libpython3.15", "libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0", "libgthread-2.0.so.0": "libglib2.0-0", "libgobject-2.0.so.0": "libglib2.0-0", "libgomp.so.1": "libgomp1",
    "libcairo.so.2": "libcairo2", "libpango-1.0.so.0": "libpango-1.0-0", "libpangocairo-1.0.so.0": "libpangocairo-1.0-0", "libpangoft2-1.0.so.0": "libpangoft2-1.0-0", "libgdk_pixbuf-2.0.so.0": "libgdk-pixbuf-2.0-0", "libxml2.so.2": "libxml2", "libxslt.so.1": "libxslt1.1", "libexslt.so.0": "libxslt1.1", "libxmlsec1.so.1": "libxmlsec1", "libjpeg.so.62": "libjpeg62-turbo",
    "libpng16.so.16": "libpng16-16", "libtiff.so.6": "libtiff6", "libwebp.so.7": "libwebp7", "libopenjp2.so.7": "libopenjp2-7", "libfreetype.so.6": "libfreetype6", "libfontconfig.so.1": "libfontconfig1", "libvips.so.42": "libvips42", "libmagic.so.1": "libmagic1", "libodbc.so.2": "libodbc2", "libsybdb.so.5": "libsybdb5",
    "libgdal.so.32": "libgdal32", "libgeos_c.so.1": "libgeos-c1v5", "libproj.so.25": "libproj25", "libsndfile.so.1": "libsndfile1", "libportaudio.so.2": "libportaudio2", "libasound.so.2": "libasound2", "libnss3.so": "libnss3", "libnspr4.so": "libnspr4", "libatk-1.0.so.0": "libatk1.0-0", "libatk-bridge-2.0.so.0": "libatk-bridge2.0-0",
    "libcups.so.2": "libcups2", "libdrm.so.2": "libdrm2", "libgbm.so.1": "libgbm1", "libX11.so.6": "libx11-6", "libXrender.so.1": "libxrender1", "libXext.so.6": "libxext6", "libSM.so.6": "libsm6", "libICE.so.6": "libice6", "libxkbcommon.so.0": "libxkbcommon0", "libsodium.so.23": "libsodium23", "libzmq.so.5": "libzmq5",
    "librdkafka.so.1": "librdkafka1", "libcurl.so.4": "libcurl4", "libldap-2.5.so.0": "libldap-2.5-0", "liblber-2.5.so.0": "libldap-2.5-0", "libxslt.so": "libxslt1.1", "libenchant-2.so.2": "libenchant-2-2", "libatomic.so.1": "libatomic1", "libopenblas.so.0": "libopenblas0", "libhdf5_serial.so.103": "libhdf5-103-1", "libtesseract.so.5": "libtesseract5", "libpcre.so.3": "libpcre3", "libyaml-0.so.2": "libyaml-0-2", "libsnappy.so.1": "libsnappy1v5", "libgssapi_krb5.so.2": "libgssapi-krb5-2", "libdbus-1.so.3": "libdbus-1-3", "libsystemd.so.0": "libsystemd0", "libleveldb.so.1d": "libleveldb1d", "libjansson.so.4": "libjansson4",
}  # fmt: skip

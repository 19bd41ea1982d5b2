"""The start script of PHP apps: php-fpm behind nginx in one instance, which ends when either does. Pure."""

from __future__ import annotations

from buildpacks import unserved
from buildpacks.mediatypes import NGINX_HTTP
from buildpacks.plan import Step

_RECIPE = "php-server-2"

_SERVE = r"""#!/bin/bash
# Serves PHP over HTTP on $PORT: php FOLDER, the document root below /app. Heroku's names for it are links to this file.
set -eu
root=; for word; do case $word in -*) ;; *) root=$word ;; esac; done
root=$(realpath "/app/${root:-.}")
work=$(mktemp -d /tmp/php.XXXXXX)
( : >>/dev/stdout ) 2>/dev/null || exec > >(exec cat)
( : >>/dev/stderr ) 2>/dev/null || exec 2> >(exec cat)
@UNSERVED@
vendor=; [ "$root" != /app ] || vendor='location ^~ /vendor/ { return 404; }'
cat >"$work/fpm.conf" <<CONF
[global]
daemonize = no
error_log = /dev/stderr
[web]
listen = $work/socket
pm = ondemand
pm.max_children = ${PHP_WORKERS:-$(( ${MEMORY_AVAILABLE:-512} / 48 + 2 ))}
catch_workers_output = yes
decorate_workers_output = no
clear_env = no
CONF
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
pid $work/pid;
daemon off;
error_log stderr warn;
events { worker_connections 1024; }
http {
@HTTP@
  client_max_body_size 0; keepalive_timeout 90s; server_tokens off; absolute_redirect off;
  gzip on; gzip_vary on; gzip_proxied any; gzip_min_length 1024;
  map \$http_x_forwarded_proto \$https_seen { default ""; https on; }
  server {
    listen 0.0.0.0:${PORT:-5000};
    root "$root";
    index index.php index.html;
    location / { try_files \$uri \$uri/ /index.php\$is_args\$args; }
    location ~ /\.(?!well-known/) { return 404; }
    $unserved $vendor
    location ~ \.php(/|\$) {
      fastcgi_split_path_info ^(.+?\.php)(/.*)\$;
      if (!-f \$document_root\$fastcgi_script_name) { return 404; }
      include /etc/nginx/fastcgi.conf;
      fastcgi_param HTTPS \$https_seen if_not_empty;
      fastcgi_param PATH_INFO \$fastcgi_path_info;
      fastcgi_pass unix:$work/socket;
      fastcgi_read_timeout 3600;
    }
  }
}
CONF
for fpm in /usr/sbin/php-fpm*; do :; done
"$fpm" --nodaemonize --fpm-config "$work/fpm.conf" &
until [ -S "$work/socket" ]; do kill -0 $! || exit 1; sleep 0.02; done
nginx -e stderr -c "$work/nginx.conf" &
wait -n || status=$?
kill $(jobs -p) 2>/dev/null || true
exit "${status:-0}"
""".replace("@HTTP@\n", NGINX_HTTP).replace("@UNSERVED@\n", unserved.NGINX)


def server_step() -> Step:
    """The script at /app/.paas/php, and Heroku's names for it on the PATH: the same for every app."""
    return Step(
        name="php-server",
        title="Adding nginx and php-fpm",
        script=(
            f"mkdir -p /app/.paas/bin\ncat >/app/.paas/php <<'SERVE'\n{_SERVE}SERVE\nchmod 755 /app/.paas/php\n"
            "for name in apache2 nginx; do ln -s ../php /app/.paas/bin/heroku-php-$name; done\n"
        ),
        outputs=("/app/.paas",),
        key=(_RECIPE,),
        shared=True,
    )

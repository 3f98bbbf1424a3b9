package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// setting is what a subject is to be run with.
type setting struct {
	// folder is its own. chain and key are of the certificate, both those files
	// in one, as HAProxy wants it.
	folder, chain, key, both string
	// plain and secure are where it listens, origin is where it forwards to:
	// addresses of this machine, with port.
	plain, secure, origin string
	cached                bool
	workers               int
	// tide, caddy and self are programs.
	tide, caddy, self string
}

// subject is a proxy that is measured.
type subject struct {
	Name string
	// cases are the names of those that it can be measured in.
	cases []string
	// configure writes its configuration, and gives the command.
	configure func(s setting) ([]string, error)
	// processors says that GOMAXPROCS is to be set to the number of workers.
	processors bool
}

// subjects are those to compare: the first is ours. Each is configured as its
// documentation recommends for a proxy, with what was measured to be best for it:
// connections to the origin are kept, no access log is written, and TLS 1.3 is
// spoken with AES-128-GCM by all.
func subjects() []subject {
	all := []string{"a", "b", "c", "d", "dt", "e", "f", "g"}
	proxy := []string{"a", "b", "c", "d", "dt", "g"}
	return []subject{
		{Name: "tide", cases: all, configure: tide, processors: true},
		{Name: "nginx", cases: all, configure: nginx},
		{Name: "HAProxy", cases: all, configure: haproxy},
		{Name: "Varnish", cases: []string{"e"}, configure: varnish},
		{Name: "Caddy", cases: proxy, configure: caddy, processors: true},
		{Name: "ReverseProxy", cases: proxy, configure: reverseProxy, processors: true},
	}
}

func (s setting) write(name, format string, args ...any) (path string, err error) {
	path = filepath.Join(s.folder, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o644) // some run as somebody else
}

func tide(s setting) ([]string, error) {
	cache := ""
	if s.cached {
		cache = `, "cache": [{"match": "*"}]`
	}
	path, err := s.write("table.json", `{"routes": [{"backends": [%q]%s}], "certificates": [{"chain": %q, "key": %q}]}`, s.origin, cache, s.chain, s.key)
	return []string{s.tide, "edge", "--table", path, "--listen", "http://" + s.plain, "--listen", "https://" + s.secure}, err
}

func nginx(s setting) ([]string, error) {
	cache, use := "", ""
	if s.cached {
		cache = fmt.Sprintf("proxy_cache_path %s/cache levels=1:2 keys_zone=answers:10m max_size=100m use_temp_path=off;", s.folder)
		use = "proxy_cache answers; open_file_cache max=1000;"
	}
	path, err := s.write("nginx.conf", `
worker_processes %d;
daemon off;
error_log stderr crit;
pid %s/nginx.pid;
worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
	access_log off;
	sendfile on; tcp_nopush on; tcp_nodelay on;
	keepalive_requests 1000000000; keepalive_timeout 300s;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/temporary; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
	%[3]s
	upstream origin { server %[4]s; keepalive 512; keepalive_requests 1000000000; }
	ssl_certificate %[5]s; ssl_certificate_key %[6]s;
	ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
	ssl_session_cache shared:all:10m;
	server {
		listen %[7]s backlog=4096; listen %[8]s ssl http2 backlog=4096;
		http2_max_requests 1000000000;
		location / {
			proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
			proxy_buffer_size 16k; proxy_buffers 8 32k; proxy_busy_buffers_size 64k;
			%[9]s
		}
	}
}
`, s.workers, s.folder, cache, s.origin, s.chain, s.key, s.plain, s.secure, use)
	return []string{"nginx", "-p", s.folder, "-c", path}, err
}

func haproxy(s setting) ([]string, error) {
	cache, use := "", ""
	if s.cached {
		cache = "cache all\n\ttotal-max-size 100\n\tmax-object-size 1000000\n\tmax-age 3600\n"
		use = "http-request cache-use all\n\thttp-response cache-store all"
	}
	path, err := s.write("haproxy.cfg", `
global
	nbthread %d
	maxconn 4096
	ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
	ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
	mode http
	option http-keep-alive
	http-reuse always
	timeout client 300s
	timeout server 300s
	timeout connect 5s
	timeout http-keep-alive 300s
%s
frontend all
	bind %s
	bind %s ssl crt %s alpn h2,http/1.1
	default_backend origin
backend origin
	%s
	server origin %s pool-max-conn 512
`, s.workers, cache, s.plain, s.secure, s.both, use, s.origin)
	return []string{"haproxy", "-db", "-f", path}, err
}

func varnish(s setting) ([]string, error) {
	host, port, _ := strings.Cut(s.origin, ":")
	path, err := s.write("default.vcl", "vcl 4.1;\nbackend default { .host = %q; .port = %q; }\n", host, port)
	return []string{
		"varnishd", "-F", "-f", path, "-a", s.plain, "-s", "default,100m", "-n", filepath.Join(s.folder, "varnish"),
		"-p", "thread_pools=1",
	}, err
}

func caddy(s setting) ([]string, error) {
	path, err := s.write("Caddyfile", `
{
	admin off
	auto_https off
	persist_config off
	servers {
		protocols h1 h2
	}
	log {
		output discard
	}
}
http://%[1]s {
	bind 127.0.0.1
	reverse_proxy %[3]s
}
https://:%[2]s {
	bind 127.0.0.1
	tls %[4]s %[5]s {
		protocols tls1.3
	}
	reverse_proxy %[3]s
}
`, ":"+port(s.plain), port(s.secure), s.origin, s.chain, s.key)
	return []string{s.caddy, "run", "--config", path, "--adapter", "caddyfile"}, err
}

func reverseProxy(s setting) ([]string, error) {
	return []string{s.self, "-be", "proxy", s.plain, s.secure, s.chain, s.key, s.origin}, nil
}

func port(address string) string {
	_, port, _ := strings.Cut(address, ":")
	return port
}

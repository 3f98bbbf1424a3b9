package manifest

import (
	"strings"

	"github.com/springtide/springtide"
)

func detectPHP(s source) (language, bool) {
	root := ""
	switch s.firstOf("public/index.php", "web/index.php", "index.php") {
	case "public/index.php":
		root = "public"
	case "web/index.php":
		root = "web"
	case "index.php":
		root = "."
	default:
		return language{}, false
	}
	l := newLanguage("index.php", "a PHP app, served from "+root)
	if s.has("composer.json") {
		l.From = "composer.json"
		if data, _, err := s.read("composer.json"); err == nil {
			if pack, problems := parseJSON("composer.json", data); len(problems) == 0 && needsComposer(pack) {
				l.build("composer install --no-dev --no-interaction --optimize-autoloader", "Run in a clean copy of the source; what it leaves is what runs.")
			}
		}
	}
	l.run(name(springtide.Web), "php -S 0.0.0.0:$PORT -t "+root,
		"PHP's own server. It is simple and does for modest traffic; php-fpm or FrankenPHP do for more.")
	l.env("PHP_CLI_SERVER_WORKERS", "4")
	l.comment("env.PHP_CLI_SERVER_WORKERS", "How many requests one instance serves at a time.")
	l.document.Processes[name(springtide.Web)].Scale = &scaleSection{Target: &targetSection{Concurrency: setTo(count(4))}}
	if s.has("artisan") {
		l.document.Release = setTo(command("php artisan migrate --force"))
	}
	l.probe(s.code(".php"))
	return l, true
}

// needsComposer reports whether packages other than PHP and its extensions are needed.
func needsComposer(pack *node) bool {
	if pack.get("autoload") != nil {
		return true
	}
	required := pack.get("require")
	if required == nil {
		return false
	}
	for _, e := range required.entries {
		if strings.Contains(e.key, "/") {
			return true
		}
	}
	return false
}

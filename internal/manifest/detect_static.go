package manifest

import "github.com/springtide/springtide"

func detectStatic(s source) (language, bool) {
	folder := ""
	switch file := s.firstOf("index.html", "public/index.html", "dist/index.html", "site/index.html", "_site/index.html"); file {
	case "":
		return language{}, false
	case "index.html":
		folder = "."
	default:
		folder = file[:len(file)-len("/index.html")]
	}
	l := newLanguage("index.html", "static pages in "+folder)
	l.run(name(springtide.Web), staticServer(folder),
		"Python's own server, since every Debian has it. Any other that listens on $PORT will do.")
	return l, true
}

// staticServer serves a folder. The exec lets the server itself be told to stop.
func staticServer(folder string) string {
	serve := "exec python3 -m http.server $PORT --bind 0.0.0.0"
	if folder != "." {
		serve += " --directory " + quoteShell(folder)
	}
	return serve
}

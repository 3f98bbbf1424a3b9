package manifest

import (
	"regexp"

	"github.com/springtide/springtide"
)

var rubyPuma = regexp.MustCompile(`(?m)^\s*gem\s+["']puma["']`)

func detectRuby(s source) (language, bool) {
	from := s.firstOf("Gemfile", "config.ru")
	if from == "" {
		return language{}, false
	}
	l := newLanguage(from, "a Ruby app")
	prefix := ""
	if s.has("Gemfile") {
		prefix = "bundle exec "
		l.build("bundle config set --local path vendor/bundle && bundle install", "The gems go into the app's own folder.")
	}
	web := name(springtide.Web)
	file := s.firstOf("app.rb", "server.rb", "main.rb")
	switch {
	case s.has("config.ru") && rubyPuma.MatchString(s.text("Gemfile")):
		l.run(web, prefix+"puma --bind tcp://0.0.0.0:$PORT", "")
	case s.has("config.ru"):
		l.run(web, prefix+"rackup --host 0.0.0.0 --port $PORT", "")
	case file != "":
		l.run(web, prefix+"ruby "+file, "")
	default:
		return language{}, false
	}
	if s.has("bin/rails") {
		l.Found = []string{"a Rails app"}
		l.env("RAILS_ENV", "production")
		l.env("RAILS_LOG_TO_STDOUT", "1")
		l.env("RAILS_SERVE_STATIC_FILES", "1")
		l.document.Release = setTo(command("bin/rails db:migrate"))
	}
	code := s.code(".rb", ".ru")
	if code.mentions("rails/health#show") {
		code = append(code, `"/up"`...)
	}
	l.probe(code)
	return l, true
}
